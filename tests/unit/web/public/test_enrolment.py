"""Enrolment over HTTP: nonces good once, bodies bounded, outsiders told nothing they should not know."""

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from evertunnel.actions.deny import deny
from evertunnel.actions.issue_certificate import Signer
from evertunnel.actions.issue_short_lived import ShortLivedRequest
from evertunnel.errors import UnavailableError
from evertunnel.model import SubjectKind
from evertunnel.protocols.enrolment import build_signed_report
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.web.public.enrolment import Nonces, build_app
from tests.installation import ALICE, Installation
from tests.unit.actions.apps import App
from tests.unit.actions.enrolling import PASSWORD, Ready, make_ready
from tests.unit.pki.samples import make_key


@pytest.fixture
def ready(installation: Installation) -> Ready:
    """Alice may have a certificate on her laptop."""
    return make_ready(installation, make_key("p256", "device"))


def build(ready: Ready, *, store: Store | None = None, signer: Signer | None = None) -> ASGIApp:
    made = ready.installation
    return build_app(store or made.store, signer or made.signer, made.unseal_sign_in, made.clock)


@pytest.fixture
def client(ready: Ready) -> Iterator[TestClient]:
    """The application, in this process."""
    with TestClient(build(ready), raise_server_exceptions=False) as client:
        yield client


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def take_nonce(client: TestClient) -> bytes:
    return base64.b64decode(client.post("/v1/nonces").json()["nonce"])


def make_body(request: ShortLivedRequest) -> dict[str, Any]:
    return {
        "user": request.user_name, "password": request.password, "csr": encode(request.csr_der),
        "device_certificate": encode(request.device_certificate_der),
        "device_signature": encode(request.device_signature), "nonce": encode(request.nonce), "code": request.code,
    }  # fmt: skip


def ask(client: TestClient, ready: Ready, **changes: Any) -> Any:
    nonce = take_nonce(client)
    return client.post("/v1/short-lived-certificates", json=make_body(ready.ask(nonce=nonce, **changes)))


def list_attempts(ready: Ready) -> list[Any]:
    with ready.installation.store.read() as connection:
        return list(connection.execute(select(tables.attempts)))


def test_a_certificate_and_its_chain_come_back(client: TestClient, ready: Ready) -> None:
    answer = ask(client, ready)
    assert answer.status_code == 200
    certificate = x509.load_der_x509_certificate(base64.b64decode(answer.json()["certificate"]))
    [issuer] = [x509.load_der_x509_certificate(base64.b64decode(text)) for text in answer.json()["chain"]]
    certificate.verify_directly_issued_by(issuer)
    assert certificate.public_key() == make_key().public_key()


def test_a_nonce_is_good_once(client: TestClient, ready: Ready) -> None:
    body = make_body(ready.ask(nonce=take_nonce(client)))
    assert client.post("/v1/short-lived-certificates", json=body).status_code == 200
    again = client.post("/v1/short-lived-certificates", json=body)
    assert again.status_code == 409
    assert len(list_attempts(ready)) == 1


@pytest.mark.parametrize("nonce", [b"", b"n" * 32, b"x" * 1000])
def test_a_nonce_we_never_gave_is_refused_before_anything_is_looked_at(
    client: TestClient, ready: Ready, nonce: bytes
) -> None:
    body = make_body(ready.ask(nonce=nonce))
    assert client.post("/v1/short-lived-certificates", json=body).status_code == 409
    assert list_attempts(ready) == []


def test_a_nonce_is_used_up_by_a_refused_request_too(client: TestClient, ready: Ready) -> None:
    body = make_body(ready.ask(nonce=take_nonce(client), password="wrong password"))
    assert client.post("/v1/short-lived-certificates", json=body).status_code == 403
    right = body | {"password": PASSWORD}
    assert client.post("/v1/short-lived-certificates", json=right).status_code == 409


def test_a_refusal_says_no_more_than_its_reference(client: TestClient, ready: Ready) -> None:
    ready.installation.do(deny, SubjectKind.USER, ALICE, reason="under investigation")
    answer = ask(client, ready)
    [attempt] = list_attempts(ready)
    assert answer.status_code == 403
    assert answer.json() == {"detail": f"Access was refused. Reference {attempt.id}."}
    assert attempt.reason == "user_denied"


def test_a_wrong_password_and_an_unknown_user_get_the_same_words(client: TestClient, ready: Ready) -> None:
    answers = [ask(client, ready, password="wrong password"), ask(client, ready, user_name="nobody@corp.example")]
    words = {answer.json()["detail"].partition(" Reference")[0] for answer in answers}
    assert {answer.status_code for answer in answers} == {403}
    assert words == {"Access was refused."}


def test_a_request_that_cannot_be_read_is_explained(client: TestClient, ready: Ready) -> None:
    answer = ask(client, ready, csr_der=b"noise")
    assert (answer.status_code, answer.json()["detail"]) == (
        422, "the certificate request cannot be read: give PEM or DER PKCS#10",
    )  # fmt: skip


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "noise": b"\xff\xfe",
    "no object": b"[]",
    "an unknown key": b'{"user": "a", "is_admin": true}',
    "no base64": b'{"user":"a","password":"b","csr":"*","device_certificate":"","device_signature":"","nonce":""}',
    "a long user": b'{"user": "' + b"x" * 300 + b'"}',
    "a number for a text": b'{"user": 1}',
    "half a character": b'{"user": "\\ud800", "password": "secret"}',
    "deep": b"[" * 30_000,
    "a huge number": b'{"user": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_body_is_bad_input_and_nothing_of_it_comes_back(client: TestClient, ready: Ready, what: str) -> None:
    answer = client.post(
        "/v1/short-lived-certificates", content=BROKEN[what], headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert "secret" not in answer.text and "xxx" not in answer.text
    assert list_attempts(ready) == []


@pytest.mark.parametrize("size", [129 * 1024, 5 * 1024 * 1024])
def test_a_body_longer_than_any_honest_one_is_refused(client: TestClient, size: int) -> None:
    answer = client.post("/v1/short-lived-certificates", content=b"x" * size)
    assert answer.status_code == 413


def test_a_body_is_bounded_although_it_does_not_say_how_long_it_is(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 1024

    assert client.post("/v1/nonces", content=parts()).status_code == 413


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/v1/users", "/v1/nonces/x", "/crl/root.crl"])
def test_there_is_nothing_else(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_signer_that_is_away_is_told_blandly(ready: Ready) -> None:
    class Away:
        def sign(self, certificate_id: str) -> bytes:
            raise UnavailableError(f"/secret/path/{certificate_id} is away")

    with TestClient(build(ready, signer=Away())) as client:
        answer = ask(client, ready)
    assert (answer.status_code, answer.json()) == (503, {"detail": "Not now; try again later."})


def test_a_grant_taken_back_before_it_was_signed_is_a_refusal(ready: Ready) -> None:
    class Late:
        """Signs like ours, a moment after the user was denied."""

        def sign(self, certificate_id: str) -> bytes:
            ready.installation.do(deny, SubjectKind.USER, ALICE, reason="under investigation")
            return ready.installation.signer.sign(certificate_id)

    with TestClient(build(ready, signer=Late())) as client:
        answer = ask(client, ready)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("Access was refused. Reference ")


def test_a_database_that_is_away_is_told_blandly(ready: Ready, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/missing/evertunnel.db")
    with TestClient(build(ready, store=store)) as client:
        answer = ask(client, ready)
    store.close()
    assert (answer.status_code, answer.json()) == (503, {"detail": "Not now; try again later."})


def test_nonces_are_long_different_and_taken_once_by_one_of_many() -> None:
    nonces = Nonces()
    given = [nonces.give() for _ in range(100)]
    assert len(set(given)) == 100 and all(len(nonce) == 32 for nonce in given)
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda: taken.append(nonces.take(given[0]))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 19 + [True]


def test_the_oldest_nonce_gives_way_when_there_are_too_many() -> None:
    nonces = Nonces()
    first, second = nonces.give(), nonces.give()
    for _ in range(9_999):
        nonces.give()
    assert not nonces.take(first)
    assert nonces.take(second)


def test_strangers_do_not_fill_the_record_and_keep_nobody_out(client: TestClient, ready: Ready) -> None:
    began, answers = time.monotonic(), []
    for _ in range(100):
        answer = ask(client, ready, device_signature=b"forged")
        assert answer.status_code == 403
        answers.append(answer.json()["detail"])
    most = 21 + 20 * (time.monotonic() - began)
    recorded = len(list_attempts(ready))
    assert 20 <= recorded <= most
    assert answers.count("Access was refused.") == 100 - recorded, "who is not recorded gets no reference"
    assert ask(client, ready).status_code == 200


def test_a_code_is_asked_for_with_a_status_of_its_own(client: TestClient, ready: Ready) -> None:
    app = App(ready.installation)
    answer = ask(client, ready)
    assert (answer.status_code, answer.json()) == (401, {"detail": "A code is needed besides the password."})
    wrong = ask(client, ready, code=app.guess())
    assert wrong.status_code == 403
    assert ask(client, ready, code=app.show()).status_code == 200


@pytest.mark.parametrize("code", ["", "123456"])
def test_a_wrong_password_is_answered_alike_with_and_without_an_app(
    client: TestClient, ready: Ready, code: str
) -> None:
    def answer() -> tuple[int, str, list[str]]:
        found = ask(client, ready, password="a guess", code=code)
        return found.status_code, found.json()["detail"].partition(" Reference")[0], sorted(found.headers)

    without = answer()
    App(ready.installation)
    assert answer() == without
    assert without[:2] == (403, "Access was refused.")


def test_a_code_of_any_length_is_bounded(client: TestClient, ready: Ready) -> None:
    answer = ask(client, ready, code="1" * 33)
    assert (answer.status_code, list_attempts(ready)) == (422, [])
    assert "1" * 33 not in answer.text


def report(client: TestClient, ready: Ready, posture: bytes, *, nonce: bytes | None = None, **changed: str) -> Any:
    assert isinstance(ready.device_key, ec.EllipticCurvePrivateKey)
    nonce = take_nonce(client) if nonce is None else nonce
    signed = build_signed_report(nonce=nonce, posture_json=posture)
    body = {
        "posture": encode(posture), "device_certificate": encode(ready.device_certificate_der),
        "device_signature": encode(ready.device_key.sign(signed, ec.ECDSA(hashes.SHA256()))), "nonce": encode(nonce),
    }  # fmt: skip
    return client.post("/v1/posture-reports", json=body | changed)


GOOD_POSTURE = b'{"operatingSystem": "Linux", "firewall": true}'


def test_posture_is_reported_once_with_a_nonce(client: TestClient, ready: Ready) -> None:
    nonce = take_nonce(client)
    assert report(client, ready, GOOD_POSTURE, nonce=nonce).status_code == 204
    with ready.installation.store.read() as connection:
        rows = connection.execute(select(tables.facts).where(tables.facts.c.source == "device")).all()
    assert {row.name: row.value for row in rows} == {"operatingSystem": "Linux", "firewall": "true"}
    again = report(client, ready, GOOD_POSTURE, nonce=nonce)
    assert (again.status_code, "nonce" in again.text) == (409, True)


def test_a_report_that_is_wrong_or_not_signed_is_refused_in_few_words(client: TestClient, ready: Ready) -> None:
    forged = report(client, ready, GOOD_POSTURE, device_signature=encode(b"x" * 70))
    assert (forged.status_code, forged.json()) == (403, {"detail": "The report was refused."})
    verdict = report(client, ready, b'{"compliant": true}')
    assert verdict.status_code == 422
    assert "nothing a device may say of itself" in verdict.json()["detail"]


def test_a_device_that_reports_without_end_is_held_back(client: TestClient, ready: Ready) -> None:
    statuses = [report(client, ready, GOOD_POSTURE).status_code for _ in range(8)]
    assert statuses[0] == 204
    assert statuses[-1] == 503
