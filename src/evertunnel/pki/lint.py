"""Check what was signed against what was granted, before it leaves. A second pair of eyes, not the first."""

from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from evertunnel.model import CertificateKind
from evertunnel.pki import oids
from evertunnel.pki.issuance import Grant, PublicAddresses, build_alternative_names
from evertunnel.pki.keys import PublicKey, encode_public_key
from evertunnel.pki.kinds import KINDS
from evertunnel.pki.names import build_subject

_T = TypeVar("_T", bound=x509.ExtensionType)


class LintError(Exception):
    """A certificate is not what its grant and kind say; it must not leave."""


def verify_certificate(
    certificate: x509.Certificate, grant: Grant, *, issuer: x509.Certificate, addresses: PublicAddresses
) -> None:
    """Raise LintError naming the first thing that differs from the grant or its kind."""
    rules = KINDS[grant.kind]
    extensions = certificate.extensions

    def expect(holds: bool, what: str) -> None:
        if not holds:
            raise LintError(f"{grant.kind.value} certificate {grant.certificate_id}: {what}")

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise LintError(f"certificate {grant.certificate_id} does not verify against its issuer: {error}") from error
    serial_number = grant.certificate_id if grant.kind is CertificateKind.DEVICE else ""
    expect(certificate.subject == build_subject(grant.name, serial_number=serial_number), "subject differs")
    expect(certificate.serial_number == grant.serial, "serial differs")
    key = certificate.public_key()
    expect(
        isinstance(key, PublicKey) and encode_public_key(key) == grant.public_key_der,
        "public key differs",
    )
    expect(certificate.not_valid_before_utc == grant.not_before.replace(microsecond=0), "not-before differs")
    expect(certificate.not_valid_after_utc == grant.not_after.replace(microsecond=0), "not-after differs")
    expect(certificate.not_valid_after_utc <= issuer.not_valid_after_utc, "outlives its issuer")
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    expect(not constraints.value.ca and constraints.critical, "may sign certificates")
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    expect(set(usages) == set(rules.usages), "usages differ from its kind")
    allowed = issuer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    expect(set(usages) <= set(allowed), "usages exceed its authority")
    wanted = build_alternative_names(grant)
    found = _find(certificate, x509.SubjectAlternativeName)
    expect((list(found) if found else []) == wanted, "alternative names differ")
    points = _find(certificate, x509.CRLDistributionPoints)
    access = _find(certificate, x509.AuthorityInformationAccess)
    if rules.states_revocation:
        urls = [name.value for point in points or () for name in point.full_name or ()]
        expect(urls == [addresses.revocation_list(grant.authority)], "CRL distribution point differs")
        locations = [description.access_location.value for description in access or ()]
        expect(locations == [addresses.responder(grant.authority)], "OCSP address differs")
    else:
        expect(points is None and access is None, "must name neither CRL nor OCSP")
    if grant.kind is CertificateKind.SHORT_LIVED:
        expect(
            any(extension.oid == oids.NO_REVOCATION_AVAILABLE for extension in extensions),
            "must say that no revocation is available",
        )


def _find(certificate: x509.Certificate, extension_class: type[_T]) -> _T | None:
    try:
        return certificate.extensions.get_extension_for_class(extension_class).value
    except x509.ExtensionNotFound:
        return None
