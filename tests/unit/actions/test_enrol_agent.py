"""Enrolling a gateway's agent anew: from then on nothing is signed for the keys of the one before."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from evertunnel.actions.add_gateway import add_gateway
from evertunnel.actions.enrol_agent import enrol_agent
from evertunnel.actions.issue_gateway_certificate import renew_for_agent
from evertunnel.actions.make_enrolment_code import make_enrolment_code
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import UnavailableError
from evertunnel.gateways.agent.folder import make_key_and_request
from evertunnel.model import CertificateKind
from evertunnel.pki.keys import encode_public_key
from evertunnel.protocols.agent.code import decode_code
from evertunnel.storage import gateways, tables
from evertunnel.storage.tables import AnyRow
from tests.installation import ADMIN, SETTINGS, Installation

NAME = "gw2"
KINDS = [CertificateKind.AGENT, CertificateKind.GATEWAY]


@pytest.fixture
def gateway(installation: Installation) -> AnyRow:
    installation.do(
        add_gateway, NAME, public_name="vpn2.example.test", radius_address="192.0.2.2", vici_socket="",
        settings=SETTINGS, server_address="192.0.2.1",
        seal=lambda secret, context: installation.keystore.seal(secret, context=context),
    )  # fmt: skip
    with installation.store.read() as connection:
        return gateways.get_gateway(connection, NAME)


class Between:
    """A signer that lets something happen before it signs."""

    def __init__(self, installation: Installation, happen: Callable[[], None]) -> None:
        self._signer, self._happen = installation.signer, happen

    def sign(self, certificate_id: str) -> bytes:
        self._happen()
        return self._signer.sign(certificate_id)


def enrol(installation: Installation, gateway: AnyRow, happen: Callable[[], None] = lambda: None) -> None:
    now = installation.now
    secret = decode_code(make_enrolment_code(installation.store, NAME, port=4433, actor=ADMIN, now=now)).secret
    requests = make_key_and_request(NAME)[1], make_key_and_request(NAME)[1]
    enrol_agent(installation.store, Between(installation, happen), secret, requests, source="192.0.2.2", now=now)


def list_keys(installation: Installation, kind: CertificateKind) -> list[bytes]:
    """Keys that certificates were granted for, without repetitions."""
    with installation.store.read() as connection:
        statement = select(tables.certificates.c.public_key_der).where(tables.certificates.c.kind == kind.value)
        return list(dict.fromkeys(connection.execute(statement).scalars()))


def count_grants(installation: Installation, key: bytes) -> int:
    with installation.store.read() as connection:
        statement = select(tables.certificates).where(tables.certificates.c.public_key_der == key)
        return len(connection.execute(statement).all())


def renew(installation: Installation, gateway: AnyRow, kind: CertificateKind) -> bytes:
    """The key that a certificate was renewed for."""
    found = renew_for_agent(installation.store, installation.signer, gateway, kind, clock=installation.clock)
    return encode_public_key(found.public_key())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("later", [0, 60], ids=["in the same moment", "a minute later"])
def test_while_somebody_enrols_the_key_before_is_not_certified_anew(
    installation: Installation, gateway: AnyRow, kind: CertificateKind, later: int
) -> None:
    """The one before is still connected, and asks to be described: its key may be the stolen one."""
    enrol(installation, gateway)
    [stolen] = list_keys(installation, kind)
    assert renew(installation, gateway, kind) == stolen
    installation.clock.forward(seconds=later)
    tried: list[bool] = []

    def ask() -> None:
        if not tried:
            tried.append(True)
            with pytest.raises(UnavailableError, match="enrol its agent anew"):
                renew(installation, gateway, kind)

    enrol(installation, gateway, ask)
    assert tried
    assert count_grants(installation, stolen) == 1
    assert renew(installation, gateway, kind) != stolen


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_is_renewed_in_time_and_after_another_name_was_chosen(
    installation: Installation, gateway: AnyRow, kind: CertificateKind
) -> None:
    enrol(installation, gateway)
    [key] = list_keys(installation, kind)
    assert (renew(installation, gateway, kind), count_grants(installation, key)) == (key, 1)
    installation.clock.forward(days=336)
    assert (renew(installation, gateway, kind), count_grants(installation, key)) == (key, 2)
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.certificates).where(tables.certificates.c.public_key_der == key)).all()
    for row in rows:
        installation.do(revoke_certificate, row.id, reason="superseded")
    assert renew(installation, gateway, kind) == key


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_taken_away_is_not_renewed(installation: Installation, gateway: AnyRow, kind: CertificateKind) -> None:
    enrol(installation, gateway)
    with installation.store.read() as connection:
        row = connection.execute(select(tables.certificates).where(tables.certificates.c.kind == kind.value)).one()
    installation.do(revoke_certificate, row.id, reason="key compromise")
    with pytest.raises(UnavailableError, match="enrol its agent anew"):
        renew(installation, gateway, kind)
