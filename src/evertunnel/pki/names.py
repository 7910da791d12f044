"""Names in certificates: what may stand in them, and how they are written."""

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from evertunnel.errors import InvalidInputError
from evertunnel.pki import oids

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_USER_PART = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\\\]/*?|]{1,64}")
_MAXIMUM_NAME_LENGTH = 253
# X.520 ub-common-name: OpenSSL refuses to build longer ones.
_MAXIMUM_COMMON_NAME_LENGTH = 64


def verify_dns_name(name: str) -> None:
    """Raise InvalidInputError unless `name` is a host name as certificates and DNS take it (RFC 1123 2.1)."""
    if len(name) > _MAXIMUM_NAME_LENGTH or not _DNS_NAME.fullmatch(name):
        raise InvalidInputError(f"{name!r} is not a DNS name such as laptop1.corp.example")


def verify_user_name(name: str) -> None:
    """Raise InvalidInputError unless `name` is a user principal name, user@domain ([MS-ADTS] 5.1.1.1.1)."""
    user, at, domain = name.partition("@")
    if not at or not _USER_PART.fullmatch(user) or not user.isprintable():
        raise InvalidInputError(f"{name!r} is not a user name such as alice@corp.example")
    verify_dns_name(domain)


def build_subject(common_name: str, *, serial_number: str = "") -> x509.Name:
    """CN, and a serialNumber that makes the name unique among certificates of one device."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_MAXIMUM_COMMON_NAME_LENGTH])]
    if serial_number:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number))
    return x509.Name(attributes)


def build_principal_name(name: str) -> x509.OtherName:
    """The user principal name as a subject alternative name: UTF8String inside an otherName."""
    text = name.encode()
    if len(text) > 127:
        raise InvalidInputError(f"the user name {name[:40]!r}... is longer than 127 bytes")
    return x509.OtherName(oids.USER_PRINCIPAL_NAME, bytes([0x0C, len(text)]) + text)


def find_principal_name(certificate: x509.Certificate) -> str | None:
    """The first user principal name among the subject alternative names, or None."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    for other in names.get_values_for_type(x509.OtherName):
        if other.type_id == oids.USER_PRINCIPAL_NAME and other.value[:1] == b"\x0c":
            return other.value[2:].decode("utf-8", "replace")
    return None
