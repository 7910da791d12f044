"""The second pair of eyes: one certificate for each thing that may go wrong, differing in nothing else."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.issuance import Grant, PublicAddresses
from evertunnel.pki.lint import LintError, verify_certificate
from evertunnel.pki.names import build_subject
from tests.unit.pki.bent import USAGE, bent, change_usage, refuse
from tests.unit.pki.samples import ADDRESSES, CA, NOW, bend, make_authorities, make_certificate, make_grant, make_key

FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "another subject": ({"subject": build_subject("bob@corp.example")}, "subject differs"),
    "an empty subject": ({"subject": x509.Name([])}, "subject differs"),
    "another serial": ({"serial": 99}, "serial differs"),
    "another key": ({"public_key": make_key("p256", "somebody else's").public_key()}, "public key differs"),
    "an earlier beginning": ({"not_before": make_grant(CertificateKind.USER).not_before - timedelta(1)}, "not-before"),
    "a later end": ({"not_after": make_grant(CertificateKind.USER).not_after + timedelta(1)}, "not-after"),
    "an earlier end": ({"not_after": make_grant(CertificateKind.USER).not_after - timedelta(1)}, "not-after"),
    "another hash": ({"hash_algorithm": hashes.SHA512()}, "another algorithm"),
    "another issuer name": ({"issuer": build_subject("Other")}, "does not verify against its issuer"),
}


@pytest.mark.parametrize("what", FIELDS)
def test_a_field_that_differs_from_the_grant_is_found(what: str) -> None:
    changes, match = FIELDS[what]
    refuse(*bent(CertificateKind.USER, **changes), match=match)


def test_a_certificate_of_another_authority_is_found() -> None:
    grant = make_grant(CertificateKind.USER)
    device = make_authorities()[Authority.DEVICE]
    name = make_authorities()[Authority.ISSUING].certificate.subject
    forged = bend(make_certificate(grant), CA(device.certificate, device.key), issuer=name)
    refuse(grant, forged, match="does not verify against its issuer")


def test_a_certificate_whose_signature_was_cut_off_is_found() -> None:
    grant = make_grant(CertificateKind.USER)
    der = bytearray(make_certificate(grant).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    refuse(grant, x509.load_der_x509_certificate(bytes(der)), match="does not verify against its issuer")


def test_a_certificate_that_outlives_its_issuer_is_found() -> None:
    issuer = make_authorities()[Authority.ISSUING].certificate
    grant = make_grant(CertificateKind.USER, not_after=issuer.not_valid_after_utc + timedelta(seconds=1))
    refuse(grant, make_certificate(grant), match="outlives")


def test_usages_its_authority_may_not_give_are_found() -> None:
    grant = make_grant(CertificateKind.USER, authority=Authority.ISSUING)
    issuing = make_authorities()[Authority.ISSUING]
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    narrowed = bend(issuing.certificate, make_authorities()[Authority.ROOT], extensions=[(usages, False)])
    with pytest.raises(LintError, match="exceed its authority"):
        verify_certificate(make_certificate(grant), grant, issuer=narrowed, addresses=ADDRESSES)


def test_an_authority_without_usages_may_give_none() -> None:
    grant = make_grant(CertificateKind.USER)
    issuing = make_authorities()[Authority.ISSUING]
    bare = bend(issuing.certificate, make_authorities()[Authority.ROOT], without=[ExtensionOID.EXTENDED_KEY_USAGE])
    with pytest.raises(LintError):
        verify_certificate(make_certificate(grant), grant, issuer=bare, addresses=ADDRESSES)


def test_an_rsa_server_without_key_encipherment_is_found() -> None:
    grant = make_grant(CertificateKind.GATEWAY, key_type="rsa2048")
    certificate = bend(make_certificate(grant), make_authorities()[Authority.ISSUING], extensions=[(USAGE, True)])
    refuse(grant, certificate, match="key usage")


def test_an_rsa_user_with_key_encipherment_is_found() -> None:
    grant = make_grant(CertificateKind.USER, key_type="rsa2048")
    usage = change_usage(key_encipherment=True)
    certificate = bend(make_certificate(grant), make_authorities()[Authority.ISSUING], extensions=[(usage, True)])
    refuse(grant, certificate, match="key usage")


def test_a_signature_with_other_padding_is_found() -> None:
    grant = make_grant(CertificateKind.USER)
    ca = make_authorities("rsa2048")[Authority.ISSUING]
    good = make_certificate(grant, key_type="rsa2048")
    builder = x509.CertificateBuilder(
        good.issuer, good.subject, good.public_key(), good.serial_number, good.not_valid_before_utc,
        good.not_valid_after_utc, list(good.extensions),
    )  # fmt: skip
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
    refuse(
        grant,
        builder.sign(ca.key, hashes.SHA256(), rsa_padding=scheme),
        match="another algorithm",
        key_type="rsa2048",
    )


def test_a_p384_authority_that_signs_with_a_shorter_hash_is_found() -> None:
    grant = make_grant(CertificateKind.USER)
    ca = make_authorities("p384")[Authority.ISSUING]
    weak = bend(make_certificate(grant, key_type="p384"), ca, hash_algorithm=hashes.SHA256())
    refuse(grant, weak, match="another algorithm", key_type="p384")


def test_addresses_of_another_installation_are_found() -> None:
    grant = make_grant(CertificateKind.USER)
    elsewhere = PublicAddresses("http://elsewhere.example")
    issuer = make_authorities()[Authority.ISSUING].certificate
    with pytest.raises(LintError, match=r"2\.5\.29\.31"):
        verify_certificate(make_certificate(grant), grant, issuer=issuer, addresses=elsewhere)


CHANGED_GRANTS: dict[str, Grant] = {
    "kind": make_grant(CertificateKind.SHORT_LIVED),
    "name": make_grant(CertificateKind.USER, name="bob@corp.example"),
    "serial": make_grant(CertificateKind.USER, serial=99),
    "key": make_grant(CertificateKind.USER, key_type="p384"),
    "authority": make_grant(CertificateKind.USER, authority=Authority.ACCESS),
    "lifetime": make_grant(CertificateKind.USER, not_after=NOW),
}


@pytest.mark.parametrize("what", CHANGED_GRANTS)
def test_a_good_certificate_of_another_grant_is_found(what: str) -> None:
    issuer = make_authorities()[Authority.ISSUING].certificate
    good = make_certificate(make_grant(CertificateKind.USER))
    with pytest.raises(LintError):
        verify_certificate(good, CHANGED_GRANTS[what], issuer=issuer, addresses=ADDRESSES)
