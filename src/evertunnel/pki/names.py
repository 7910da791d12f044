"""Names in certificates: what may stand in them, and how they are written."""

import re
import unicodedata

from cryptography import x509
from cryptography.x509.oid import NameOID

from evertunnel.errors import InvalidInputError
from evertunnel.pki import oids

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# ASCII: without it, ignoring case lets letters through that fold to ASCII ones (the Kelvin sign for k).
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_USER_PART = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\\\]/*?|]{1,64}")
_MAXIMUM_NAME_LENGTH = 253
# X.520 ub-common-name, which OpenSSL and `cryptography` count in bytes.
MAXIMUM_COMMON_NAME_BYTES = 64
# A length below 128 is one byte in DER.
_MAXIMUM_PRINCIPAL_NAME_BYTES = 127


def verify_dns_name(name: str) -> None:
    """Raise InvalidInputError unless `name` is a host name as certificates and DNS take it (RFC 1123 2.1)."""
    # No top-level domain is a number: what ends in one is an address, which certificates carry elsewhere.
    numeric = name.rpartition(".")[2].isdecimal()
    if numeric or len(name) > _MAXIMUM_NAME_LENGTH or not _DNS_NAME.fullmatch(name):
        raise InvalidInputError(f"{name[:100]!r} is not a DNS name such as laptop1.corp.example")


def verify_user_name(name: str) -> None:
    """Raise InvalidInputError unless `name` is a user principal name, user@domain ([MS-ADTS] 5.1.1.1.1)."""
    user, at, domain = name.partition("@")
    if not at or not _USER_PART.fullmatch(user) or not user.isprintable():
        raise InvalidInputError(f"{name[:100]!r} is not a user name such as alice@corp.example")
    if unicodedata.normalize("NFKC", user) != user:
        # Two names that look alike and differ in bytes would be two users.
        raise InvalidInputError(
            f"{name[:100]!r} is written with compatibility or decomposed characters: use the plain ones"
        )
    verify_dns_name(domain)
    if len(name.encode()) > _MAXIMUM_PRINCIPAL_NAME_BYTES:
        raise InvalidInputError(f"the user name {name[:40]!r}... is longer than {_MAXIMUM_PRINCIPAL_NAME_BYTES} bytes")


def shorten(text: str, maximum_bytes: int) -> str:
    """The beginning of a text that fits into so many bytes of UTF-8."""
    return text.encode()[:maximum_bytes].decode(errors="ignore")


def build_subject(common_name: str, *, serial_number: str = "") -> x509.Name:
    """CN, and a serialNumber that makes the name unique among certificates of one device."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, shorten(common_name, MAXIMUM_COMMON_NAME_BYTES))]
    if serial_number:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number))
    return x509.Name(attributes)


def build_principal_name(name: str) -> x509.OtherName:
    """The user principal name as a subject alternative name: UTF8String inside an otherName."""
    text = name.encode()
    if len(text) > _MAXIMUM_PRINCIPAL_NAME_BYTES:
        raise InvalidInputError(f"the user name {name[:40]!r}... is longer than {_MAXIMUM_PRINCIPAL_NAME_BYTES} bytes")
    return x509.OtherName(oids.USER_PRINCIPAL_NAME, bytes([0x0C, len(text)]) + text)
