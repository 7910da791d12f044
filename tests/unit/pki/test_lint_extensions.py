"""The second pair of eyes on extensions: every one that is missing, differs or was not asked for is found."""

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from evertunnel.model import Authority, CertificateKind
from evertunnel.pki import oids
from evertunnel.pki.extensions import build_distribution_point, build_responder_address
from evertunnel.pki.names import build_subject
from tests.unit.pki.bent import USAGE, bent, change_usage, refuse
from tests.unit.pki.samples import ADDRESSES

OTHER_URL = "http://evil.example/crl/issuing.crl"
URI = x509.UniformResourceIdentifier

EXTENSIONS: dict[str, tuple[CertificateKind, x509.ExtensionType, bool, str]] = {
    "an authority": (CertificateKind.USER, x509.BasicConstraints(True, None), True, "may sign certificates"),
    "an authority with a path": (CertificateKind.USER, x509.BasicConstraints(True, 0), True, "may sign certificates"),
    "constraints that may be ignored": (CertificateKind.USER, x509.BasicConstraints(False, None), False, "critical"),
    "key usage that may be ignored": (CertificateKind.USER, USAGE, False, "critical"),
    "no signatures": (CertificateKind.USER, change_usage(digital_signature=False), True, "key usage"),
    "signs certificates": (CertificateKind.USER, change_usage(key_cert_sign=True), True, "key usage"),
    "signs lists": (CertificateKind.USER, change_usage(crl_sign=True), True, "key usage"),
    "enciphers keys": (CertificateKind.USER, change_usage(key_encipherment=True), True, "key usage"),
    "enciphers data": (CertificateKind.USER, change_usage(data_encipherment=True), True, "key usage"),
    "commits to content": (CertificateKind.USER, change_usage(content_commitment=True), True, "key usage"),
    "agrees on keys": (CertificateKind.USER, change_usage(key_agreement=True), True, "key usage"),
    "a server's usage too": (
        CertificateKind.USER,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
        False,
        "usages differ",
    ),
    "any usage": (
        CertificateKind.USER, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False,
        "usages differ",
    ),
    "conditional access on a user's": (
        CertificateKind.USER,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, oids.CONDITIONAL_ACCESS]),
        False,
        "usages differ",
    ),
    "one usage too few": (
        CertificateKind.SHORT_LIVED, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False, "usages differ",
    ),
    "critical usages": (
        CertificateKind.USER, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True, "critical",
    ),
    "another name": (
        CertificateKind.GATEWAY, x509.SubjectAlternativeName([x509.DNSName("evil.example")]), False, "2.5.29.17",
    ),
    "one more name": (
        CertificateKind.GATEWAY,
        x509.SubjectAlternativeName([x509.DNSName("host.corp.example"), x509.DNSName("evil.example")]),
        False,
        "2.5.29.17",
    ),
    "a name on a responder": (
        CertificateKind.OCSP_SIGNER, x509.SubjectAlternativeName([x509.DNSName("evil.example")]), False, "2.5.29.17",
    ),
    "another list": (CertificateKind.USER, build_distribution_point(OTHER_URL), False, "2.5.29.31"),
    "a list of another issuer": (
        CertificateKind.USER,
        x509.CRLDistributionPoints(
            [
                x509.DistributionPoint(
                    [URI(ADDRESSES.revocation_list(Authority.ISSUING))],
                    None,
                    None,
                    [x509.DirectoryName(build_subject("Other"))],
                )
            ]
        ),
        False,
        "2.5.29.31",
    ),
    "another responder": (CertificateKind.USER, build_responder_address(OTHER_URL), False, "1.3.6.1.5.5.7.1.1"),
    "the responder's address as an issuer's": (
        CertificateKind.USER,
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.CA_ISSUERS, URI(ADDRESSES.responder(Authority.ISSUING))
                )
            ]
        ),
        False,
        "1.3.6.1.5.5.7.1.1",
    ),
    "a list on a device": (CertificateKind.DEVICE, build_distribution_point(OTHER_URL), False, "2.5.29.31"),
    "a responder on a device": (
        CertificateKind.DEVICE, build_responder_address(OTHER_URL), False, "1.3.6.1.5.5.7.1.1",
    ),
    "a list on a short-lived one": (
        CertificateKind.SHORT_LIVED, build_distribution_point(OTHER_URL), False, "2.5.29.31",
    ),
    "another value of no revocation": (
        CertificateKind.SHORT_LIVED,
        x509.UnrecognizedExtension(oids.NO_REVOCATION_AVAILABLE, b"\x01\x01\xff"),
        False,
        "2.5.29.56",
    ),
    "no revocation on a user's": (
        CertificateKind.USER, x509.UnrecognizedExtension(oids.NO_REVOCATION_AVAILABLE, b"\x05\x00"), False, "2.5.29.56",
    ),
    "not to be checked, on a user's": (
        CertificateKind.USER, x509.OCSPNoCheck(), False, "1.3.6.1.5.5.7.48.1.5",
    ),
    "an extension nobody asked for": (
        CertificateKind.USER, x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), False, "1.2.3",
    ),
    "another key's identifier": (
        CertificateKind.USER, x509.SubjectKeyIdentifier(bytes(20)), False, "subject key identifier",
    ),
    "another issuer's identifier": (
        CertificateKind.USER, x509.AuthorityKeyIdentifier(bytes(20), None, None), False, "authority key identifier",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", EXTENSIONS)
def test_an_extension_that_differs_from_the_kind_is_found(what: str) -> None:
    kind, extension, critical, match = EXTENSIONS[what]
    refuse(*bent(kind, extensions=[(extension, critical)]), match=match)


MISSING = [
    (CertificateKind.USER, ExtensionOID.BASIC_CONSTRAINTS),
    (CertificateKind.USER, ExtensionOID.KEY_USAGE),
    (CertificateKind.USER, ExtensionOID.EXTENDED_KEY_USAGE),
    (CertificateKind.USER, ExtensionOID.SUBJECT_ALTERNATIVE_NAME),
    (CertificateKind.USER, ExtensionOID.SUBJECT_KEY_IDENTIFIER),
    (CertificateKind.USER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER),
    (CertificateKind.USER, ExtensionOID.CRL_DISTRIBUTION_POINTS),
    (CertificateKind.USER, ExtensionOID.AUTHORITY_INFORMATION_ACCESS),
    (CertificateKind.SHORT_LIVED, oids.NO_REVOCATION_AVAILABLE),
    (CertificateKind.OCSP_SIGNER, ExtensionOID.OCSP_NO_CHECK),
]


@pytest.mark.parametrize(("kind", "oid"), MISSING, ids=[f"{kind} without {oid._name}" for kind, oid in MISSING])
def test_an_extension_that_is_missing_is_found(kind: CertificateKind, oid: x509.ObjectIdentifier) -> None:
    refuse(*bent(kind, without=[oid]), match=oid.dotted_string.replace(".", r"\."))
