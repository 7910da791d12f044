"""MS-CHAPv2 against the numbers of RFC 2759 9.2 and RFC 3079 3.5.3."""

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from evertunnel.protocols.eap import mschapv2_keys as keys
from evertunnel.protocols.eap.md4 import hash_md4
from evertunnel.protocols.radius.hidden_values import encode_session_keys
from tests.peers import radius
from tests.peers.peap import InnerMSCHAPv2

NAME, PASSWORD = b"User", "clientPass"
OURS = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
THEIRS = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
CHALLENGE = bytes.fromhex("D02E4386BCE91226")
NT_HASH = bytes.fromhex("44EBBA8D5312B8D611474411F56989AE")
RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")


def test_challenge_and_password_hashes() -> None:
    assert keys.hash_challenges(THEIRS, OURS, NAME) == CHALLENGE
    assert keys.hash_password_nt(PASSWORD) == NT_HASH
    assert hash_md4(NT_HASH) == bytes.fromhex("41C00C584BD2D91C4017A2A12FA59F3F")


def test_both_responses() -> None:
    assert keys.build_nt_response(CHALLENGE, NT_HASH) == RESPONSE
    said = keys.build_authenticator_response(NT_HASH, RESPONSE, CHALLENGE)
    assert said == "S=407A5589115FD0D6209F510FE9C04566932CDA56"


def test_master_and_start_keys_of_128_bits() -> None:
    master = keys.derive_master_key(hash_md4(NT_HASH), RESPONSE)
    assert master == bytes.fromhex("FDECE3717A8C838CB388E527AE3CDD31")
    # RFC 3079 3.5.3: SendStartKey128 is of the server.
    server_sends = bytes.fromhex("8B7CDC149B993A1BA118CB153F56DCCB")
    assert keys.derive_start_key(master, client_sends=False) == server_sends
    msk = keys.derive_master_session_key(NT_HASH, RESPONSE)
    assert (len(msk), msk[16:]) == (32, server_sends)


def test_a_short_master_session_key_goes_out_in_two_halves() -> None:
    msk = keys.derive_master_session_key(NT_HASH, RESPONSE)
    pairs = encode_session_keys(msk, secret=b"secret", request_authenticator=bytes(16), salts=(1, 2))
    assert len(pairs) == 2
    # Vendor header 4 and 2 octets, salt 2, then one block of 16 for the length and half of it, and one for the rest.
    assert {len(value) for _, value in pairs} == {4 + 2 + 2 + 32}
    assert radius.ACCEPT == 2


def test_des_keys_of_seven_octets() -> None:
    """RFC 2759 9.3: a hash and the keys with parity that its first and second seven octets make."""
    nt_hash = keys.hash_password_nt("MyPw")
    assert nt_hash == bytes.fromhex("FC156AF7EDCD6C0EDDE3337D427F4EAC")
    block = b"12345678"
    made = [
        Cipher(TripleDES(bytes.fromhex(key) * 3), modes.ECB()).encryptor().update(block)
        for key in ("FD0B5B5E7F6E34D9", "0E6E796737EA08FE")
    ]
    assert keys.encrypt_nt_hash(block + block, nt_hash) == b"".join(made)


def test_a_domain_is_not_hashed() -> None:
    assert [keys.remove_domain(name) for name in ("CORP\\User", "User", "user@corp", "A\\B\\c")] == [
        "User", "User", "user@corp", "c",
    ]  # fmt: skip


@pytest.mark.parametrize("new", ["a new password", "пароль", "x" * 256, ""])
def test_a_new_password_is_read_back(new: str) -> None:
    old = keys.hash_password_nt("old")
    packet = build_change("old", new)
    assert keys.decrypt_new_password(packet[4:520], packet[520:536], old) == new


def test_a_new_password_under_another_old_one_is_not_read() -> None:
    packet = build_change("old", "a new password")
    assert keys.decrypt_new_password(packet[4:520], packet[520:536], keys.hash_password_nt("older")) is None


def test_a_change_whose_hash_is_another_ones_is_not_read() -> None:
    old = keys.hash_password_nt("old")
    one, other = build_change("old", "a new password"), build_change("old", "another password")
    assert keys.decrypt_new_password(one[4:520], other[520:536], old) is None


def build_change(old: str, new: str) -> bytes:
    client = InnerMSCHAPv2("User", old, new_password=new)
    client._challenge = OURS
    return client._change(2)
