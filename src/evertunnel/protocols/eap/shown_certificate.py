"""What a certificate says of itself, for the record of a login that was refused. None of it is proven."""

from cryptography import x509

_CHARACTERS_AT_MOST = 200


def describe_shown(certificate_der: bytes) -> dict[str, str]:
    """Subject, issuer, serial (hex) and end (ISO 8601) of somebody's certificate; nothing of one that is malformed."""
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        return {
            "subject": certificate.subject.rfc4514_string()[:_CHARACTERS_AT_MOST],
            "issuer": certificate.issuer.rfc4514_string()[:_CHARACTERS_AT_MOST],
            "serial": f"{certificate.serial_number:x}"[:_CHARACTERS_AT_MOST],
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }
    except (ValueError, TypeError, OverflowError):  # OpenSSL takes more than the reader of its words
        return {}
