"""Certificate signing requests (RFC 2986): only the public key that signed one is taken from it."""

from cryptography import x509

from evertunnel.errors import InvalidInputError
from evertunnel.pki.keys import encode_public_key, load_public_key

_MAXIMUM_BYTES = 16 * 1024


def decode_request(data: bytes) -> bytes:
    """The proven public key (DER SubjectPublicKeyInfo) of a PEM or DER request.

    Raises InvalidInputError when it cannot be read, is larger than 16 KiB, uses a key we do not take, or was not
    signed by the key it names. Subject, alternative names and every other attribute are ignored on purpose.
    """
    if len(data) > _MAXIMUM_BYTES:
        raise InvalidInputError("the certificate request is larger than 16 KiB")
    try:
        pem = data.lstrip().startswith(b"-----BEGIN")
        request = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        valid = request.is_signature_valid
        public_key = request.public_key()
        public_key_der = encode_public_key(public_key)  # type: ignore[arg-type]
    except Exception as error:  # the parser raises many types, all of them the requester's doing
        raise InvalidInputError("the certificate request cannot be read: give PEM or DER PKCS#10") from error
    if not valid:
        raise InvalidInputError("the certificate request was not signed by the key it names")
    load_public_key(public_key_der)
    return public_key_der
