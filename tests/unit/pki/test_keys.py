"""Keys: what we make, what we take, and what must not get in."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.errors import InvalidInputError
from evertunnel.pki.keys import (
    decode_private_key,
    encode_private_key,
    encode_public_key,
    generate_key,
    load_public_key,
    signing_hash,
)
from tests.unit.pki.samples import KEY_TYPES, make_key


@pytest.mark.parametrize(("key_type", "size"), [("p256", 256), ("p384", 384), ("rsa3072", 3072)])
def test_a_key_of_each_type_can_be_made_kept_and_read_again(key_type: str, size: int) -> None:
    key = generate_key(key_type)
    assert key.key_size == size
    assert decode_private_key(encode_private_key(key)).private_numbers() == key.private_numbers()


@pytest.mark.parametrize("key_type", ["", "P256", "rsa", "rsa1024", "rsa99999", "ed25519", "p521"])
def test_an_unknown_type_is_named_together_with_those_that_exist(key_type: str) -> None:
    with pytest.raises(InvalidInputError, match="p256, p384, rsa3072, rsa4096"):
        generate_key(key_type)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_a_public_key_comes_back_as_it_went(key_type: str) -> None:
    der = encode_public_key(make_key(key_type).public_key())
    assert encode_public_key(load_public_key(der)) == der


def build_rsa_of(bits: int) -> PublicKeyTypes:
    """A public key of any size at once: nobody checks that its modulus has two factors."""
    return rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()


OTHERS: dict[str, PublicKeyTypes] = {
    "a short RSA key": build_rsa_of(2047),
    "a long RSA key": build_rsa_of(8193),
    "P-521": ec.generate_private_key(ec.SECP521R1()).public_key(),
    "a curve of Bitcoin": ec.generate_private_key(ec.SECP256K1()).public_key(),
    "Ed25519": ed25519.Ed25519PrivateKey.generate().public_key(),
    "X25519": x25519.X25519PrivateKey.generate().public_key(),
    "DSA": dsa.generate_private_key(1024).public_key(),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_key_windows_or_strongswan_would_not_take_is_refused(what: str) -> None:
    der = OTHERS[what].public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InvalidInputError, match="must be ECDSA P-256 or P-384, or RSA"):
        load_public_key(der)


@pytest.mark.parametrize("bits", [2048, 8192])
def test_rsa_keys_at_the_limits_are_taken(bits: int) -> None:
    load_public_key(encode_public_key(build_rsa_of(bits)))  # type: ignore[arg-type]


def test_a_key_of_an_unknown_algorithm_is_refused_and_not_an_error_of_ours() -> None:
    der = bytearray(encode_public_key(make_key().public_key()))
    place = der.find(bytes.fromhex("2a8648ce3d0201"))
    der[place + 6] = 0x7F
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_public_key(bytes(der))


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        load_public_key(data)


@given(st.integers(0, 90), st.integers(1, 255))
def test_a_public_key_with_one_byte_changed_is_refused_or_another_key(place: int, change: int) -> None:
    der = bytearray(encode_public_key(make_key().public_key()))
    der[place] ^= change
    try:
        key = load_public_key(bytes(der))
    except InvalidInputError:
        return
    assert key != make_key().public_key()


def test_a_private_key_with_a_password_of_another_kind_or_broken_is_refused() -> None:
    locked = make_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for pem in (locked, other, b"", b"-----BEGIN PRIVATE KEY-----\n", encode_private_key(make_key())[:-40]):
        with pytest.raises(InvalidInputError, match="the private key"):
            decode_private_key(pem)


def test_p384_signs_with_sha384_and_everything_else_with_sha256() -> None:
    names = {key_type: signing_hash(make_key(key_type)).name for key_type in KEY_TYPES}
    assert names == {"p256": "sha256", "p384": "sha384", "rsa2048": "sha256"}
