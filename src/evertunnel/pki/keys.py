"""Key pairs: the algorithms we accept and make."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from evertunnel.errors import InvalidInputError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

KEY_TYPES = ("p256", "p384", "rsa3072", "rsa4096")
_MINIMUM_RSA_BITS = 2048
# Windows reads keys up to 16,384 bits; each login checks a signature, whose cost grows with the square of the length.
_MAXIMUM_RSA_BITS = 8192
_CURVES = ("secp256r1", "secp384r1")


def generate_key(key_type: str = "p256") -> PrivateKey:
    """A fresh private key of one of KEY_TYPES. Raises InvalidInputError."""
    match key_type:
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa3072" | "rsa4096":
            return rsa.generate_private_key(public_exponent=65537, key_size=int(key_type[3:]))
    raise InvalidInputError(f"key type {key_type!r} is not one of {', '.join(KEY_TYPES)}")


def find_key_type(key: PublicKey) -> str:
    """Which of KEY_TYPES a public key of ours is of."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa{key.key_size}"
    return "p384" if key.curve.name == "secp384r1" else "p256"


def load_public_key(public_key_der: bytes) -> PublicKey:
    """The public key of a SubjectPublicKeyInfo, if Windows and strongSwan both take it. Raises InvalidInputError."""
    try:
        key = serialization.load_der_public_key(public_key_der)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInputError("the public key cannot be read") from error
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and _MINIMUM_RSA_BITS <= key.key_size <= _MAXIMUM_RSA_BITS:
        return key
    raise InvalidInputError("the public key must be ECDSA P-256 or P-384, or RSA of 2,048 to 8,192 bits")


def encode_public_key(key: PublicKey) -> bytes:
    """DER SubjectPublicKeyInfo."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def encode_private_key(key: PrivateKey) -> bytes:
    """PEM, PKCS#8, not encrypted: where it is kept decides who reads it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def decode_private_key(pem: bytes) -> PrivateKey:
    """The private key of a PEM file. Raises InvalidInputError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInputError("the private key cannot be read: it must be unencrypted PEM") from error
    if isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        return key
    raise InvalidInputError("the private key must be ECDSA or RSA")


def signing_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """SHA-384 for P-384, SHA-256 else: the pairs every Windows build verifies."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1":
        return hashes.SHA384()
    return hashes.SHA256()
