"""Granting and signing: within the kind's limits, by its own authority, on record before anything is signed."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import select

from evertunnel.actions.issue_certificate import Wanted, issue_certificate
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import encode_public_key
from evertunnel.pki.kinds import KINDS
from evertunnel.storage import tables
from tests.installation import ADMIN, ALICE, Installation
from tests.unit.pki.samples import make_key

KEY = encode_public_key(make_key().public_key())


class BrokenSigner:
    """A signer that is away."""

    def sign(self, certificate_id: str) -> bytes:
        raise UnavailableError(f"cannot sign {certificate_id} now")


def issue(installation: Installation, kind: CertificateKind = CertificateKind.USER, **wanted: Any) -> x509.Certificate:
    complete = {"kind": kind, "public_key_der": KEY} | installation.choose_name(kind) | wanted
    issued = issue_certificate(
        installation.store, installation.signer, Wanted(**complete), actor=ADMIN, now=installation.now
    )
    return x509.load_der_x509_certificate(issued.certificate_der)


@pytest.mark.parametrize("kind", [kind for kind in CertificateKind if kind is not CertificateKind.OCSP_SIGNER])
def test_a_certificate_lasts_as_long_as_its_kind_and_begins_five_minutes_back(
    installation: Installation, kind: CertificateKind
) -> None:
    certificate = issue(installation, kind)
    assert certificate.not_valid_before_utc == installation.now - timedelta(minutes=5)
    lifetime = certificate.not_valid_after_utc - installation.now
    assert lifetime == timedelta(seconds=KINDS[kind].default_lifetime_seconds)


@pytest.mark.parametrize("kind", [kind for kind in CertificateKind if kind is not CertificateKind.OCSP_SIGNER])
def test_the_authority_follows_from_the_kind(installation: Installation, kind: CertificateKind) -> None:
    [authority] = KINDS[kind].authorities
    with installation.store.read() as connection:
        row = connection.execute(select(tables.authorities).where(tables.authorities.c.name == authority.value)).one()
    issuer = x509.load_der_x509_certificate(row.certificate_der)
    issue(installation, kind).verify_directly_issued_by(issuer)


@pytest.mark.parametrize("seconds", [1, 60, 3600])
def test_a_shorter_lifetime_can_be_had(installation: Installation, seconds: int) -> None:
    certificate = issue(installation, lifetime_seconds=seconds)
    assert certificate.not_valid_after_utc == installation.now + timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [0, -1, -(10**12), 3 * 366 * 86400 + 1, 10**30])
def test_no_lifetime_and_one_above_the_ceiling_are_refused(installation: Installation, seconds: int) -> None:
    with pytest.raises(InvalidInputError, match="lasts more than nothing and at most"):
        issue(installation, lifetime_seconds=seconds)


def test_a_short_lived_certificate_lasts_no_longer_than_an_hour(installation: Installation) -> None:
    with pytest.raises(InvalidInputError, match="at most 3600 seconds"):
        issue(installation, CertificateKind.SHORT_LIVED, lifetime_seconds=3601)


def test_no_certificate_outlives_its_authority(installation: Installation) -> None:
    installation.clock.forward(days=10 * 365 - 30)
    certificate = issue(installation)
    assert certificate.not_valid_after_utc < installation.now + timedelta(days=31)


@pytest.mark.parametrize(
    ("kind", "authority"),
    [
        (CertificateKind.USER, Authority.ROOT),
        (CertificateKind.USER, Authority.DEVICE),
        (CertificateKind.DEVICE, Authority.ISSUING),
        (CertificateKind.SHORT_LIVED, Authority.ISSUING),
        (CertificateKind.OCSP_SIGNER, Authority.ROOT),
        (CertificateKind.OCSP_SIGNER, None),
    ],
)
def test_an_authority_that_does_not_sign_the_kind_is_refused(
    installation: Installation, kind: CertificateKind, authority: Authority | None
) -> None:
    with pytest.raises(InvalidInputError, match=r"authority signs no \S+ certificates"):
        issue(installation, kind, authority=authority)


def test_a_key_we_do_not_take_is_refused_before_anything_is_stored(installation: Installation) -> None:
    weak = encode_public_key(rsa.RSAPublicNumbers(65537, (1 << 1024) - 1).public_key())
    with pytest.raises(InvalidInputError, match="must be ECDSA"):
        issue(installation, public_key_der=weak)
    with installation.store.read() as connection:
        assert not connection.execute(select(tables.certificates).where(tables.certificates.c.kind == "user")).all()


def test_the_grant_is_on_record_although_nobody_signs_it(installation: Installation) -> None:
    wanted = Wanted(CertificateKind.USER, ALICE, KEY)
    with pytest.raises(UnavailableError):
        issue_certificate(installation.store, BrokenSigner(), wanted, actor=ADMIN, now=installation.now)
    with installation.store.read() as connection:
        row = connection.execute(select(tables.certificates).where(tables.certificates.c.kind == "user")).one()
        entry = connection.execute(select(tables.audit).where(tables.audit.c.subject_id == row.id)).one()
    assert (row.status, row.certificate_der, row.granted_by) == ("granted", None, "ann")
    assert entry.name == "certificate:grant"


def test_serials_are_random_and_long(installation: Installation) -> None:
    serials = [issue(installation).serial_number for _ in range(10)]
    assert len(set(serials)) == 10
    assert all(serial.bit_length() > 100 for serial in serials)


def test_the_chain_stops_below_the_root(installation: Installation) -> None:
    users = installation.issue(CertificateKind.USER, ALICE)
    devices = installation.issue(CertificateKind.DEVICE, "laptop1.corp.example")
    [issuer] = [x509.load_der_x509_certificate(der) for der in users.chain_der]
    assert issuer.subject.rfc4514_string() == "CN=Example Issuing CA 1"
    assert devices.chain_der == ()
