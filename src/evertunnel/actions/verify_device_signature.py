"""The proof that a request comes from a device: its signature with the key of its certificate."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from evertunnel.errors import InvalidInputError


def verify_device_signature(certificate_der: bytes, signature: bytes, signed: bytes) -> None:
    """Raise InvalidSignature, InvalidInputError or ValueError unless the certificate's key made it."""
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        raise InvalidInputError("a device key is ECDSA or RSA")
