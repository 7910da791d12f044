"""Check what was signed against what was granted, before it leaves. A second pair of eyes, not the first."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from evertunnel.model import CertificateKind
from evertunnel.pki import oids
from evertunnel.pki.extensions import build_distribution_point, build_key_identifier, build_responder_address
from evertunnel.pki.issuance import Grant, PublicAddresses, build_alternative_names
from evertunnel.pki.keys import PublicKey, encode_public_key
from evertunnel.pki.kinds import KINDS, USER_KINDS
from evertunnel.pki.names import build_subject
from evertunnel.pki.security_identifiers import build_sid_extension

# Extensions of every leaf, with whether they are critical (RFC 5280 4.2.1.3, 4.2.1.9, 4.2.1.12).
_ALWAYS = {
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
}
_NULL = b"\x05\x00"
# What `cryptography` raises over a certificate it cannot read or verify.
_UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class LintError(Exception):
    """A certificate is not what its grant and kind say; it must not leave."""


def verify_certificate(
    certificate: x509.Certificate, grant: Grant, *, issuer: x509.Certificate, addresses: PublicAddresses
) -> None:
    """Raise LintError naming the first thing that differs from the grant or its kind."""
    try:
        certificate.verify_directly_issued_by(issuer)
        problem = _find_difference(certificate, grant, issuer, addresses)
    except _UNREADABLE as error:
        raise LintError(f"certificate {grant.certificate_id} does not verify against its issuer: {error}") from error
    if problem:
        raise LintError(f"{grant.kind.value} certificate {grant.certificate_id}: {problem}")


def _find_difference(
    certificate: x509.Certificate, grant: Grant, issuer: x509.Certificate, addresses: PublicAddresses
) -> str:
    serial_number = grant.certificate_id if grant.kind is CertificateKind.DEVICE else ""
    key = certificate.public_key()
    checks = (
        (certificate.subject == build_subject(grant.name, serial_number=serial_number), "subject differs"),
        (certificate.serial_number == grant.serial, "serial differs"),
        (isinstance(key, PublicKey) and encode_public_key(key) == grant.public_key_der, "public key differs"),
        (certificate.not_valid_before_utc == grant.not_before.replace(microsecond=0), "not-before differs"),
        (certificate.not_valid_after_utc == grant.not_after.replace(microsecond=0), "not-after differs"),
        (certificate.not_valid_after_utc <= issuer.not_valid_after_utc, "outlives its issuer"),
        (certificate.signature_algorithm_oid == _signature_algorithm(issuer), "is signed with another algorithm"),
    )
    for holds, what in checks:
        if not holds:
            return what
    return _find_extension_difference(certificate, grant, issuer, addresses)


def _find_extension_difference(
    certificate: x509.Certificate, grant: Grant, issuer: x509.Certificate, addresses: PublicAddresses
) -> str:
    rules = KINDS[grant.kind]
    extensions = certificate.extensions
    wanted: dict[x509.ObjectIdentifier, x509.ExtensionType | bytes] = {}
    names = build_alternative_names(grant)
    if names:
        wanted[ExtensionOID.SUBJECT_ALTERNATIVE_NAME] = x509.SubjectAlternativeName(names)
    if rules.states_revocation:
        wanted[ExtensionOID.CRL_DISTRIBUTION_POINTS] = build_distribution_point(
            addresses.revocation_list(grant.authority)
        )
        wanted[ExtensionOID.AUTHORITY_INFORMATION_ACCESS] = build_responder_address(
            addresses.responder(grant.authority)
        )
    if grant.kind is CertificateKind.SHORT_LIVED:
        wanted[oids.NO_REVOCATION_AVAILABLE] = _NULL
    if grant.sid and grant.kind in USER_KINDS:
        wanted[oids.SECURITY_IDENTIFIER] = build_sid_extension(grant.sid).value
    if grant.kind is CertificateKind.OCSP_SIGNER:
        wanted[ExtensionOID.OCSP_NO_CHECK] = x509.OCSPNoCheck()
    critical = {extension.oid: extension.critical for extension in extensions}
    if critical != _ALWAYS | dict.fromkeys(wanted, False):
        listed = ", ".join(sorted(oid.dotted_string for oid in critical.keys() ^ (_ALWAYS.keys() | wanted.keys())))
        return f"its extensions are others ({listed or 'critical where they should not be, or the reverse'})"
    for oid, value in wanted.items():
        found = extensions.get_extension_for_oid(oid).value
        if (found.value if isinstance(found, x509.UnrecognizedExtension) else found) != value:
            return f"the extension {oid.dotted_string} differs"
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    if constraints.ca or constraints.path_length is not None:
        return "may sign certificates"
    usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    if usages != set(rules.usages):
        return "usages differ from its kind"
    if not usages <= set(issuer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value):
        return "usages exceed its authority"
    return _find_key_difference(certificate, issuer, server=oids.SERVER_AUTHENTICATION in rules.usages)


def _find_key_difference(certificate: x509.Certificate, issuer: x509.Certificate, *, server: bool) -> str:
    """Key usage and the two key identifiers."""
    extensions = certificate.extensions
    key = certificate.public_key()
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    granted = {
        "digital_signature": usage.digital_signature,
        "key_encipherment": usage.key_encipherment,
        "key_cert_sign": usage.key_cert_sign,
        "crl_sign": usage.crl_sign,
        "content_commitment": usage.content_commitment,
        "data_encipherment": usage.data_encipherment,
        "key_agreement": usage.key_agreement,
    }
    wanted = {"digital_signature"} | ({"key_encipherment"} if server and isinstance(key, rsa.RSAPublicKey) else set())
    if {name for name, is_set in granted.items() if is_set} != wanted:
        return "key usage differs from its kind"
    own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert isinstance(key, PublicKey)  # compared with the grant's before
    # The long form is that of certificates from before, whose renewal looks at them.
    if own not in (build_key_identifier(key), x509.SubjectKeyIdentifier.from_public_key(key)):
        return "subject key identifier differs"
    above = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    points_to = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    if points_to != x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above):
        return "authority key identifier differs"
    return ""


def _signature_algorithm(issuer: x509.Certificate) -> x509.ObjectIdentifier:
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return SignatureAlgorithmOID.RSA_WITH_SHA256
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1":
        return SignatureAlgorithmOID.ECDSA_WITH_SHA384
    return SignatureAlgorithmOID.ECDSA_WITH_SHA256
