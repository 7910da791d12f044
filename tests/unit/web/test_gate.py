"""The gate: good for what would be granted now, revoked for what is revoked, unknown for all else, and never stale."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import Connection
from starlette.testclient import TestClient

from evertunnel.actions.allow import allow
from evertunnel.actions.change_device import change_device
from evertunnel.actions.change_network_policies import add_network_policy, remove_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import UnavailableError
from evertunnel.model import Authority, CertificateKind, Gateway, SubjectKind
from evertunnel.storage import authorities
from evertunnel.storage.gateways import gate_path_context
from evertunnel.storage.store import Store
from evertunnel.web.gate import Gate
from evertunnel.web.ocsp_signer import OCSPSigner
from tests.installation import ALICE, LAPTOP, Installation

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


class Door:
    """A gate, the path of its gateway and the laptop's certificate."""

    def __init__(self, installation: Installation, store: Store | None = None) -> None:
        self.installation = installation
        self.gateway_id = installation.add_gateway()
        installation.do(add_network_policy, "everything", {"permission": "grant"})
        issued = installation.issue(CertificateKind.DEVICE, LAPTOP, device_id=installation.add_device())
        self.certificate_id, self.certificate_der = issued.id, issued.certificate_der
        self.gate = build_gate(installation, store)

    @property
    def path(self) -> str:
        """What only the gateway knows."""
        self.installation.refresh()
        [(gateway, sealed)] = self.installation.decider.list_gateways()
        return unseal(self.installation)(gateway, sealed.gate_path)

    def ask(self, certificate_der: bytes = b"") -> ocsp.OCSPResponse:
        """What the gate says of a certificate."""
        answer = self.gate.answer(self.path, self.build_request(certificate_der or self.certificate_der))
        assert answer is not None
        return ocsp.load_der_ocsp_response(answer)

    def build_request(self, certificate_der: bytes) -> bytes:
        """A question about a certificate, as charon asks it."""
        with self.installation.store.read() as connection:
            issuer = authorities.load_authorities(connection)[Authority.DEVICE]
        certificate = x509.load_der_x509_certificate(certificate_der)
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build()
        return request.public_bytes(Encoding.DER)

    def status(self) -> ocsp.OCSPCertStatus:
        """The word for the laptop."""
        return self.ask().certificate_status


def unseal(installation: Installation) -> Callable[[Gateway, bytes], str]:
    return lambda gateway, sealed: installation.keystore.unseal(sealed, context=gate_path_context(gateway.id)).decode()


def build_gate(installation: Installation, store: Store | None = None) -> Gate:
    signer = OCSPSigner(
        installation.store, installation.signer, Authority.DEVICE, "Evertunnel gate", installation.clock
    )
    return Gate(store or installation.store, signer, unseal(installation), installation.clock)


@pytest.fixture
def door(installation: Installation) -> Door:
    """Device tunnels are granted."""
    return Door(installation)


def test_a_device_that_would_be_granted_is_good(door: Door) -> None:
    assert door.status() is GOOD


def test_an_answer_counts_for_three_seconds(door: Door) -> None:
    answer = door.ask()
    assert answer.this_update_utc == door.installation.now - timedelta(seconds=2)
    assert answer.next_update_utc == door.installation.now + timedelta(seconds=3)


CHANGES: dict[str, tuple[Callable[[Door], object], ocsp.OCSPCertStatus]] = {
    "denied": (lambda door: door.installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen"), UNKNOWN),
    "denied and revoked": (
        lambda door: door.installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen", revoke=True), REVOKED,
    ),
    "disabled": (lambda door: door.installation.do(change_device, LAPTOP, enabled=False), UNKNOWN),
    "no policy": (lambda door: door.installation.do(remove_network_policy, "everything"), UNKNOWN),
    "revoked": (
        lambda door: door.installation.do(revoke_certificate, door.certificate_id, reason="superseded"), REVOKED,
    ),
    "ended": (lambda door: door.installation.clock.forward(days=366), UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_taken_away_is_told_at_the_next_question(door: Door, what: str) -> None:
    change, status = CHANGES[what]
    assert door.status() is GOOD
    change(door)
    assert door.status() is status


def test_a_device_allowed_again_is_good_again(door: Door) -> None:
    door.installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen")
    assert door.status() is UNKNOWN
    door.installation.do(allow, SubjectKind.DEVICE, LAPTOP)
    assert door.status() is GOOD


def test_a_certificate_that_is_no_device_is_unknown(door: Door) -> None:
    """Even signed by the device authority: its own responder."""
    responder = door.ask().certificates[0]
    assert door.ask(responder.public_bytes(Encoding.DER)).certificate_status is UNKNOWN


def test_another_authority_is_not_answered_for(door: Door) -> None:
    with door.installation.store.read() as connection:
        issuing = authorities.load_authorities(connection)[Authority.ISSUING]
    users = door.installation.issue(CertificateKind.USER, ALICE).certificate_der
    request = ocsp.OCSPRequestBuilder().add_certificate(x509.load_der_x509_certificate(users), issuing, hashes.SHA1())
    answer = door.gate.answer(door.path, request.build().public_bytes(Encoding.DER))
    assert answer is not None
    assert ocsp.load_der_ocsp_response(answer).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_a_policy_about_another_gateway_does_not_help(door: Door) -> None:
    door.installation.add_gateway("gw2", "127.0.0.2")
    door.installation.do(remove_network_policy, "everything")
    only = {"permission": "grant", "conditions": {"gateways": ["gw2"]}}
    door.installation.do(add_network_policy, "only", only)
    path = next(
        unseal(door.installation)(gateway, sealed.gate_path)
        for gateway, sealed in refreshed(door).decider.list_gateways()
        if gateway.name == "gw1"
    )
    answer = door.gate.answer(path, door.build_request(door.certificate_der))
    assert answer is not None
    assert ocsp.load_der_ocsp_response(answer).certificate_status is UNKNOWN


def refreshed(door: Door) -> Installation:
    door.installation.refresh()
    return door.installation


@pytest.mark.parametrize("path", ["", "x", "../gate", "a" * 500])
def test_whoever_does_not_know_the_path_gets_nothing(door: Door, path: str) -> None:
    assert door.gate.answer(path, door.build_request(door.certificate_der)) is None
    with TestClient(door.gate.build_app()) as client:
        assert client.post(f"/{path}", content=b"x").status_code == 404


def test_a_gateway_added_later_is_known_at_its_first_question(door: Door) -> None:
    assert door.status() is GOOD
    door.installation.add_gateway("gw2", "127.0.0.2")
    for gateway, sealed in refreshed(door).decider.list_gateways():
        path = unseal(door.installation)(gateway, sealed.gate_path)
        assert door.gate.answer(path, door.build_request(door.certificate_der)) is not None


def test_asking_writes_nothing(door: Door) -> None:
    door.status()
    before = refreshed(door).decider.epoch
    for _ in range(3):
        door.status()
    assert refreshed(door).decider.epoch == before


def test_over_http_a_question_gets_an_answer_of_its_type(door: Door) -> None:
    with TestClient(door.gate.build_app()) as client:
        answer = client.post(f"/{door.path}", content=door.build_request(door.certificate_der))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/ocsp-response")
        assert client.post(f"/{door.path}", content=b"x" * 5000).status_code == 413
        assert client.get(f"/{door.path}").status_code == 405


class Unsteady(Store):
    """A database that cannot be read at times."""

    broken = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """As always, unless broken."""
        if self.broken:
            raise UnavailableError("the database cannot be read: disk I/O error")
        with super().read() as connection:
            yield connection


def test_a_denial_that_could_not_be_read_is_not_forgotten(installation: Installation, tmp_path: Path) -> None:
    """After a failed read nothing is announced a second time; the gate must know by itself that it is behind."""
    store = Unsteady(f"sqlite:///{tmp_path}/evertunnel.db")
    door = Door(installation, store)
    assert door.status() is GOOD
    installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen")
    store.broken = True
    for _ in range(2):
        with pytest.raises(UnavailableError):
            door.status()
    with TestClient(door.gate.build_app()) as client:
        assert client.post(f"/{door.path}", content=door.build_request(door.certificate_der)).status_code == 503
    store.broken = False
    assert door.status() is UNKNOWN
    store.close()


def test_a_gate_that_could_not_read_at_its_start_works_later(installation: Installation, tmp_path: Path) -> None:
    store = Unsteady(f"sqlite:///{tmp_path}/evertunnel.db")
    store.broken = True
    door = Door(installation, store)
    with pytest.raises(UnavailableError):
        door.status()
    store.broken = False
    assert door.status() is GOOD
    store.close()
