"""The authorities' own certificates: who is above whom, how far down they sign, and what for."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from evertunnel.model import Authority
from evertunnel.pki.authorities import build_authority
from evertunnel.pki.kinds import AUTHORITY_USAGES
from tests.unit.pki.samples import ADDRESSES, KEY_TYPES, NOW, PARENTS, make_authorities, make_key

EVERY = [(authority, key_type) for authority in Authority for key_type in KEY_TYPES]


@pytest.mark.parametrize(("authority", "key_type"), EVERY)
def test_an_authority_is_signed_by_the_one_above_it_or_by_itself(authority: Authority, key_type: str) -> None:
    made = make_authorities(key_type)
    above = made[PARENTS[authority] or authority].certificate
    made[authority].certificate.verify_directly_issued_by(above)
    own = [name for name, parent in PARENTS.items() if parent is None]
    assert (made[authority].certificate.issuer == made[authority].certificate.subject) == (authority in own)


def test_the_device_authority_does_not_verify_below_the_root() -> None:
    made = make_authorities()
    with pytest.raises((ValueError, InvalidSignature)):
        made[Authority.DEVICE].certificate.verify_directly_issued_by(made[Authority.ROOT].certificate)


@pytest.mark.parametrize(("authority", "key_type"), EVERY)
def test_the_root_may_have_one_authority_below_and_the_others_none(authority: Authority, key_type: str) -> None:
    found = make_authorities(key_type)[authority].certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert found.critical
    assert (found.value.ca, found.value.path_length) == (True, 1 if authority is Authority.ROOT else 0)


@pytest.mark.parametrize("authority", list(Authority))
def test_an_authority_signs_certificates_and_lists_and_nothing_else(authority: Authority) -> None:
    found = make_authorities()[authority].certificate.extensions.get_extension_for_class(x509.KeyUsage)
    usage = found.value
    assert found.critical
    assert usage.key_cert_sign and usage.crl_sign
    assert not (usage.digital_signature or usage.content_commitment or usage.key_encipherment)
    assert not (usage.data_encipherment or usage.key_agreement)


@pytest.mark.parametrize("authority", [Authority.ISSUING, Authority.DEVICE, Authority.ACCESS])
def test_what_an_authority_may_sign_stands_in_its_own_certificate(authority: Authority) -> None:
    found = make_authorities()[authority].certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert set(found.value) == set(AUTHORITY_USAGES[authority])


def test_the_root_is_not_limited_to_usages() -> None:
    oids = {extension.oid for extension in make_authorities()[Authority.ROOT].certificate.extensions}
    assert ExtensionOID.EXTENDED_KEY_USAGE not in oids


@pytest.mark.parametrize("authority", [Authority.ISSUING, Authority.ACCESS])
def test_an_authority_below_the_root_points_to_the_roots_list_and_key(authority: Authority) -> None:
    made = make_authorities()
    extensions = made[authority].certificate.extensions
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    root_key = made[Authority.ROOT].certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert [name.value for name in points[0].full_name] == ["http://vpn.example.test/crl/root.crl"]
    points_to = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert points_to.key_identifier == root_key.digest


@pytest.mark.parametrize("authority", [Authority.ROOT, Authority.DEVICE])
def test_a_self_signed_authority_names_no_list(authority: Authority) -> None:
    oids = {extension.oid for extension in make_authorities()[authority].certificate.extensions}
    assert ExtensionOID.CRL_DISTRIBUTION_POINTS not in oids


@pytest.mark.parametrize(
    ("authority", "years"),
    [(Authority.ROOT, 20), (Authority.DEVICE, 20), (Authority.ISSUING, 10), (Authority.ACCESS, 5)],
)
def test_authorities_last_as_long_as_agreed_and_begin_five_minutes_back(authority: Authority, years: int) -> None:
    certificate = make_authorities()[authority].certificate
    assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=365 * years)


def test_names_are_told_apart_by_role_and_generation() -> None:
    made = make_authorities()
    names = {ca.certificate.subject.rfc4514_string() for ca in made.values()}
    assert names == {
        "CN=Example Root CA 1", "CN=Example Issuing CA 1", "CN=Example Conditional Access CA 1",
        "CN=Example Devices CA 1",
    }  # fmt: skip


@pytest.mark.parametrize("organisation", ["x" * 500, "Ö" * 64, "会社" * 40], ids=["long", "two bytes", "three bytes"])
def test_a_long_organisation_keeps_role_and_generation_readable(organisation: str) -> None:
    certificate = build_authority(
        Authority.ACCESS, organisation=organisation, generation=2, key=make_key(), serial=7, now=NOW,
        addresses=ADDRESSES,
    )  # fmt: skip
    assert certificate.subject.rfc4514_string().endswith("Conditional Access CA 2")


@pytest.mark.parametrize(("key_type", "hash_name"), [("p256", "sha256"), ("p384", "sha384"), ("rsa2048", "sha256")])
def test_the_hash_fits_the_key(key_type: str, hash_name: str) -> None:
    certificate = make_authorities(key_type)[Authority.ISSUING].certificate
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == hash_name
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey) == (not key_type.startswith("rsa"))
