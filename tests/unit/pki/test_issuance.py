"""A grant becomes a certificate: exactly the names, usages and times of its kind, and nothing of the requester's."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

from evertunnel.errors import InvalidInputError
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import encode_public_key
from evertunnel.pki.kinds import KINDS
from evertunnel.pki.lint import verify_certificate
from evertunnel.pki.requests import decode_request
from tests.unit.pki.samples import (
    ADDRESSES,
    KEY_TYPES,
    NOW,
    make_authorities,
    make_certificate,
    make_grant,
    make_key,
    make_request,
)

PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
NO_REVOCATION_AVAILABLE = x509.ObjectIdentifier("2.5.29.56")
EVERY = [(kind, key_type) for kind in CertificateKind for key_type in KEY_TYPES]
SERVERS = (
    CertificateKind.GATEWAY,
    CertificateKind.POLICY_SERVER,
    CertificateKind.AGENT_SERVER,
    CertificateKind.RADSEC_SERVER,
)


@pytest.mark.parametrize(("kind", "key_type"), EVERY)
def test_what_is_built_passes_the_second_pair_of_eyes(kind: CertificateKind, key_type: str) -> None:
    grant = make_grant(kind, key_type=key_type)
    certificate = make_certificate(grant, key_type=key_type)
    issuer = make_authorities(key_type)[grant.authority].certificate
    verify_certificate(certificate, grant, issuer=issuer, addresses=ADDRESSES)


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_usages_are_those_of_the_kind_in_order(kind: CertificateKind) -> None:
    usages = make_certificate(make_grant(kind)).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert tuple(usages.value) == KINDS[kind].usages
    assert not usages.critical


@pytest.mark.parametrize(("kind", "key_type"), EVERY)
def test_only_an_rsa_server_may_encipher_keys(kind: CertificateKind, key_type: str) -> None:
    certificate = make_certificate(make_grant(kind, key_type=key_type), key_type=key_type)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment == (kind in SERVERS and key_type.startswith("rsa"))
    assert not (usage.value.key_cert_sign or usage.value.crl_sign or usage.value.key_agreement)
    assert not (usage.value.content_commitment or usage.value.data_encipherment)


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_no_leaf_may_sign_certificates(kind: CertificateKind) -> None:
    constraints = make_certificate(make_grant(kind)).extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (False, None)


@pytest.mark.parametrize("kind", [CertificateKind.USER, CertificateKind.SHORT_LIVED])
def test_a_users_only_alternative_name_is_the_principal_name(kind: CertificateKind) -> None:
    names = list(
        make_certificate(make_grant(kind)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    text = b"alice@corp.example"
    assert names == [x509.OtherName(PRINCIPAL_NAME, bytes([0x0C, len(text)]) + text)]


@pytest.mark.parametrize("kind", [*SERVERS, CertificateKind.DEVICE])
def test_hosts_are_named_by_dns(kind: CertificateKind) -> None:
    grant = make_grant(kind, dns_names=("a.corp.example", "b.corp.example"))
    names = make_certificate(grant).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("a.corp.example"), x509.DNSName("b.corp.example")]


def test_an_ocsp_signer_has_no_alternative_name_and_is_not_to_be_checked_itself() -> None:
    oids = {extension.oid for extension in make_certificate(make_grant(CertificateKind.OCSP_SIGNER)).extensions}
    assert ExtensionOID.SUBJECT_ALTERNATIVE_NAME not in oids
    assert ExtensionOID.OCSP_NO_CHECK in oids


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_only_a_device_carries_its_id_as_serial_number_in_its_subject(kind: CertificateKind) -> None:
    found = make_certificate(make_grant(kind)).subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    assert [attribute.value for attribute in found] == (["0123456789abcdef"] if kind is CertificateKind.DEVICE else [])


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_revocation_addresses_stand_where_the_kind_states_revocation_and_nowhere_else(kind: CertificateKind) -> None:
    extensions = make_certificate(make_grant(kind)).extensions
    oids = {extension.oid for extension in extensions}
    if not KINDS[kind].states_revocation:
        assert not oids & {ExtensionOID.CRL_DISTRIBUTION_POINTS, ExtensionOID.AUTHORITY_INFORMATION_ACCESS}
        return
    [point] = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    [access] = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [name.value for name in point.full_name or ()] == ["http://vpn.example.test/crl/issuing.crl"]
    assert access.access_method == AuthorityInformationAccessOID.OCSP
    assert access.access_location.value == "http://vpn.example.test/ocsp/issuing"


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_only_a_short_lived_certificate_says_that_it_will_never_be_revoked(kind: CertificateKind) -> None:
    found = [
        extension
        for extension in make_certificate(make_grant(kind)).extensions
        if extension.oid == NO_REVOCATION_AVAILABLE
    ]
    assert bool(found) == (kind is CertificateKind.SHORT_LIVED)
    assert all(extension.value.value == b"\x05\x00" and not extension.critical for extension in found)


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_times_are_the_grants_and_the_default_lifetime_is_kept(kind: CertificateKind) -> None:
    certificate = make_certificate(make_grant(kind))
    assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + timedelta(seconds=KINDS[kind].default_lifetime_seconds)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_nothing_a_request_says_gets_into_the_certificate_but_its_key(key_type: str) -> None:
    key = make_key(key_type)
    request = make_request(key, subject="administrator@corp.example", names=["evil.example", "vpn.example.test"])
    grant = make_grant(CertificateKind.USER, public_key_der=decode_request(request))
    certificate = make_certificate(grant)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=alice@corp.example"
    plain = make_certificate(make_grant(CertificateKind.USER, key_type=key_type))
    assert list(certificate.extensions) == list(plain.extensions)
    assert b"evil" not in certificate.public_bytes(Encoding.DER)


def test_a_grant_with_a_key_we_do_not_take_is_not_signed() -> None:
    with pytest.raises(InvalidInputError):
        make_certificate(make_grant(CertificateKind.USER, public_key_der=b"not a key"))


@pytest.mark.parametrize("authority", [Authority.ISSUING, Authority.DEVICE, Authority.ACCESS])
def test_a_responder_is_signed_by_the_very_authority_it_answers_for(authority: Authority) -> None:
    certificate = make_certificate(make_grant(CertificateKind.OCSP_SIGNER, authority=authority))
    certificate.verify_directly_issued_by(make_authorities()[authority].certificate)


def test_the_key_identifier_of_the_issuer_is_named() -> None:
    certificate = make_certificate(make_grant(CertificateKind.USER))
    above = make_authorities()[Authority.ISSUING].certificate.extensions
    wanted = above.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert found.key_identifier == wanted
    own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    long = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    assert own.digest == bytes((0x40 | long[-8] & 0x0F,)) + long[-7:]  # RFC 5280 4.2.1.2 (2)


def test_the_public_key_is_kept_to_the_byte() -> None:
    grant = make_grant(CertificateKind.DEVICE, key_type="p384")
    certificate = make_certificate(grant)
    key = certificate.public_key()
    assert encode_public_key(key) == grant.public_key_der  # type: ignore[arg-type]
