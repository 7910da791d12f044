"""What MS-CHAPv2 computes: challenge hash, responses, password change (RFC 2759 8) and keys (RFC 3079 3).

All of it stands on MD4 and single DES: who hears one exchange finds the NT hash in hours, and that hash is as good as
the password. Only where an administrator switched it on (docs/authentication-methods.md).
"""

import hashlib
import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from evertunnel.protocols.eap.md4 import hash_md4

CHALLENGE_BYTES = 16
NT_HASH_BYTES = 16
NT_RESPONSE_BYTES = 24
ENCRYPTED_PASSWORD_BYTES = 516
_PASSWORD_BYTES_AT_MOST = 512

# RFC 2759 8.7 and RFC 3079 3.4: the constants are these texts.
_SERVER_TO_CLIENT = b"Magic server to client signing constant"
_AGAIN = b"Pad to make it do more than one iteration"
_MASTER_KEY = b"This is the MPPE Master Key"
_CLIENT_SENDS = b"On the client side, this is the send key; on the server side, it is the receive key."
_SERVER_SENDS = b"On the client side, this is the receive key; on the server side, it is the send key."
_PAD_1, _PAD_2 = bytes(40), b"\xf2" * 40
_KEY_BYTES = 16


def hash_password_nt(password: str) -> bytes:
    """NtPasswordHash (RFC 2759 8.3)."""
    return hash_md4(password.encode("utf-16-le", "surrogatepass"))


def remove_domain(name: str) -> str:
    """The name that is hashed: Windows sends DOMAIN\\user and hashes user."""
    return name.rpartition("\\")[2]


def hash_challenges(peer_challenge: bytes, our_challenge: bytes, name: bytes) -> bytes:
    """ChallengeHash (RFC 2759 8.2); `name` is without the domain."""
    return hashlib.sha1(peer_challenge + our_challenge + name, usedforsecurity=False).digest()[:8]


def build_nt_response(challenge_hash: bytes, nt_hash: bytes) -> bytes:
    """ChallengeResponse (RFC 2759 8.5)."""
    padded = nt_hash + bytes(5)
    return b"".join(_encrypt_block(padded[at : at + 7], challenge_hash) for at in (0, 7, 14))


def build_authenticator_response(nt_hash: bytes, nt_response: bytes, challenge_hash: bytes) -> str:
    """GenerateAuthenticatorResponse (RFC 2759 8.7): `S=` and 40 hexadecimal digits."""
    first = _sha1(hash_md4(nt_hash), nt_response, _SERVER_TO_CLIENT)
    return "S=" + _sha1(first, challenge_hash, _AGAIN).hex().upper()


def derive_master_session_key(nt_hash: bytes, nt_response: bytes) -> bytes:
    """What the server receives with and what it sends with, 16 octets each (RFC 3079 3.3, 3.4)."""
    master = derive_master_key(hash_md4(nt_hash), nt_response)
    return derive_start_key(master, client_sends=True) + derive_start_key(master, client_sends=False)


def derive_master_key(nt_hash_hash: bytes, nt_response: bytes) -> bytes:
    """GetMasterKey."""
    return _sha1(nt_hash_hash, nt_response, _MASTER_KEY)[:_KEY_BYTES]


def derive_start_key(master_key: bytes, *, client_sends: bool) -> bytes:
    """GetAsymmetricStartKey of 128 bits, for one direction."""
    words = _CLIENT_SENDS if client_sends else _SERVER_SENDS
    return _sha1(master_key, _PAD_1, words, _PAD_2)[:_KEY_BYTES]


def decrypt_new_password(encrypted_password: bytes, encrypted_hash: bytes, old_nt_hash: bytes) -> str | None:
    """The new password of a change (RFC 2759 8.9, 8.12); None when the two values do not fit, or it is no text."""
    plain = Cipher(ARC4(old_nt_hash), mode=None).decryptor().update(encrypted_password)
    length = int.from_bytes(plain[_PASSWORD_BYTES_AT_MOST:], "little")
    if length > _PASSWORD_BYTES_AT_MOST or length % 2:
        return None
    try:
        password = plain[_PASSWORD_BYTES_AT_MOST - length : _PASSWORD_BYTES_AT_MOST].decode("utf-16-le")
    except UnicodeDecodeError:
        return None
    expected = encrypt_nt_hash(old_nt_hash, hash_password_nt(password))
    return password if hmac.compare_digest(expected, encrypted_hash) else None


def encrypt_nt_hash(nt_hash: bytes, key_hash: bytes) -> bytes:
    """NtPasswordHashEncryptedWithBlock (RFC 2759 8.13)."""
    return _encrypt_block(key_hash[:7], nt_hash[:8]) + _encrypt_block(key_hash[7:14], nt_hash[8:])


def _sha1(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


def _encrypt_block(key: bytes, block: bytes) -> bytes:
    """Single DES with a key of 56 bits: three times the same key is once (RFC 2759 8.6)."""
    bits = int.from_bytes(key, "big")
    # Seven bits an octet; the parity bit is looked at by nobody.
    spread = bytes(((bits >> (49 - 7 * at)) & 0x7F) << 1 for at in range(8))
    encryptor = Cipher(TripleDES(spread * 3), modes.ECB()).encryptor()  # noqa: S305  one block, as the RFC has it
    return encryptor.update(block)
