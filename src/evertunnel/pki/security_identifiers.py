"""Security identifiers of Windows accounts: which ones a certificate may carry, and the extension that carries one."""

import re

from cryptography import x509

from evertunnel.errors import InvalidInputError
from evertunnel.pki import oids

# Of an account in a domain, or in Entra; well-known ones (S-1-5-18 is the system itself) are nobody's to carry.
_DOMAIN_ACCOUNT = re.compile(r"S-1-5-21-(\d{1,10})-(\d{1,10})-(\d{1,10})-(\d{1,10})", re.ASCII)
_ENTRA_ACCOUNT = re.compile(r"S-1-12-1-(\d{1,10})-(\d{1,10})-(\d{1,10})-(\d{1,10})", re.ASCII)
_LARGEST_PART = 2**32 - 1
_OCTET_STRING = 0x04


def verify_sid(sid: str) -> None:
    """Raise InvalidInputError unless it is an account's, written as Windows writes it ([MS-DTYP] 2.4.2.1)."""
    found = _DOMAIN_ACCOUNT.fullmatch(sid) or _ENTRA_ACCOUNT.fullmatch(sid)
    if found is None or any(str(int(part)) != part or int(part) > _LARGEST_PART for part in found.groups()):
        raise InvalidInputError(
            f"{sid[:80]!r} is not the security identifier of an account, such as "
            "S-1-5-21-1004336348-1177238915-682003330-1104: `whoami /user` shows it"
        )


def build_sid_extension(sid: str) -> x509.UnrecognizedExtension:
    """The text in ASCII, inside an otherName, inside general names ([MS-WCCE] 2.2.2.7.7.4). Never critical."""
    octets = sid.encode("ascii")
    name = x509.OtherName(oids.SECURITY_IDENTIFIER_NAME, bytes([_OCTET_STRING, len(octets)]) + octets)
    # The value is that of a subject alternative name with this one name.
    value = x509.SubjectAlternativeName([name]).public_bytes()
    return x509.UnrecognizedExtension(oids.SECURITY_IDENTIFIER, value)
