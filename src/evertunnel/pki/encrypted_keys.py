"""A private key under a passphrase, as a file that OpenSSL opens too: PKCS#8, PBES2 (RFC 8018) with scrypt (RFC 7914).

The library writes PBES2 with 2,048 rounds of PBKDF2, which a thief of the file hardly notices; so it is written here.
"""

import base64
import textwrap

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from evertunnel.errors import InvalidInputError
from evertunnel.pki.keys import PrivateKey

MINIMUM_PASSPHRASE_CHARACTERS = 12
SALT_BYTES = 16
IV_BYTES = 16
_KEY_BYTES = 32
# OpenSSL opens nothing that needs more than 32 MiB; the cost is therefore raised by p.
_N, _R, _P = 2**14, 8, 8
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")


def verify_passphrase(passphrase: str) -> None:
    """Raise InvalidInputError for one that is found by trying."""
    if len(passphrase) < MINIMUM_PASSPHRASE_CHARACTERS:
        raise InvalidInputError(f"the passphrase must have {MINIMUM_PASSPHRASE_CHARACTERS} characters at least")


def encrypt_private_key(key: PrivateKey, passphrase: str, *, salt: bytes, iv: bytes) -> bytes:
    """PEM, `ENCRYPTED PRIVATE KEY`. `salt` and `iv` are random and used once. Raises InvalidInputError."""
    verify_passphrase(passphrase)
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    padder = padding.PKCS7(AES.block_size).padder()
    derived = Scrypt(salt=salt, length=_KEY_BYTES, n=_N, r=_R, p=_P).derive(passphrase.encode())
    encryptor = Cipher(AES(derived), CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    derivation = _sequence(_SCRYPT, _sequence(_octets(salt), *map(_integer, (_N, _R, _P, _KEY_BYTES))))
    algorithm = _sequence(_PBES2, _sequence(derivation, _sequence(_AES_256_CBC, _octets(iv))))
    text = base64.b64encode(_sequence(algorithm, _octets(encrypted))).decode()
    lines = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", *textwrap.wrap(text, 64), "-----END ENCRYPTED PRIVATE KEY-----"]
    return ("\n".join(lines) + "\n").encode()


def decrypt_private_key(pem: bytes, passphrase: str) -> PrivateKey:
    """The private key of such a file. Raises InvalidInputError."""
    try:
        key = serialization.load_pem_private_key(pem, password=passphrase.encode())
    except TypeError as error:  # the library's word for a password that is given and not needed
        raise InvalidInputError("it is not encrypted with a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInputError("it does not open: another passphrase, or no private key (PEM)") from error
    if isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        return key
    raise InvalidInputError("the private key must be ECDSA or RSA")


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _octets(data: bytes) -> bytes:
    return _tagged(0x04, data)


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tagged(tag: int, content: bytes) -> bytes:
    """DER (X.690 8.1.3): the length in one byte below 128, else its own bytes counted first."""
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
