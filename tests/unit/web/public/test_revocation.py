"""Lists and OCSP as they are served: types, headers, errors; the answers themselves OpenSSL checks elsewhere."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from starlette.testclient import TestClient

from evertunnel.actions.deny import deny
from evertunnel.actions.issue_certificate import Signer
from evertunnel.errors import UnavailableError
from evertunnel.model import Authority, CertificateKind, SubjectKind
from evertunnel.pki.revocation import MALFORMED, TRY_LATER, UNAUTHORIZED
from evertunnel.storage import authorities
from evertunnel.storage.store import Store
from evertunnel.web.ocsp_signer import OCSPSigner
from evertunnel.web.public.revocation import RevocationPages
from tests.installation import ALICE, Installation


def build_client(installation: Installation, store: Store | None = None, signer: Signer | None = None) -> TestClient:
    store = store or installation.store
    responder = OCSPSigner(
        store, signer or installation.signer, Authority.ISSUING, "Evertunnel OCSP", installation.clock
    )
    return TestClient(RevocationPages(store, responder, installation.clock).build_app(), raise_server_exceptions=False)


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    """The application, in this process."""
    with build_client(installation) as client:
        yield client


def build_request(installation: Installation, certificate_der: bytes) -> bytes:
    with installation.store.read() as connection:
        issuer = authorities.load_authorities(connection)[Authority.ISSUING]
    certificate = x509.load_der_x509_certificate(certificate_der)
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build()
    return request.public_bytes(Encoding.DER)


def ask(client: TestClient, request: bytes, *, name: str = "issuing") -> ocsp.OCSPResponse:
    answer = client.post(f"/ocsp/{name}", content=request, headers={"Content-Type": "application/ocsp-request"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/ocsp-response")
    return ocsp.load_der_ocsp_response(answer.content)


@pytest.mark.parametrize("authority", list(Authority))
def test_each_authority_has_a_list_that_says_when_it_was_made(
    installation: Installation, client: TestClient, authority: Authority
) -> None:
    installation.signer.publish_revocations()
    answer = client.get(f"/crl/{authority.value}.crl")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pkix-crl")
    assert answer.headers["last-modified"] == "Mon, 04 May 2026 12:00:00 GMT"
    assert answer.headers["cache-control"] == "no-cache"
    x509.load_der_x509_crl(answer.content)


@pytest.mark.parametrize("path", ["/crl/other.crl", "/crl/root", "/crl/../keys/root.crl", "/", "/ocsp", "/v1/users"])
def test_there_is_nothing_else(installation: Installation, client: TestClient, path: str) -> None:
    installation.signer.publish_revocations()
    assert client.get(path).status_code in (404, 405)


def test_a_list_that_was_not_made_yet_is_not_an_empty_one(client: TestClient) -> None:
    assert client.get("/crl/issuing.crl").status_code == 503


def test_good_on_hold_and_unknown(installation: Installation, client: TestClient) -> None:
    issued = installation.issue(CertificateKind.USER, ALICE, user_id=installation.add_user())
    request = build_request(installation, issued.certificate_der)
    assert ask(client, request).certificate_status is ocsp.OCSPCertStatus.GOOD
    installation.do(deny, SubjectKind.USER, ALICE, reason="test")
    held = ask(client, request)
    assert held.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert held.revocation_reason is x509.ReasonFlags.certificate_hold


def test_a_serial_that_was_granted_and_never_signed_is_unknown(installation: Installation, client: TestClient) -> None:
    issued = installation.issue(CertificateKind.USER, ALICE)
    request = bytearray(build_request(installation, issued.certificate_der))
    request[-1] ^= 1
    assert ask(client, bytes(request)).certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_an_answer_is_good_for_an_hour_and_dated_back_for_slow_clocks(
    installation: Installation, client: TestClient
) -> None:
    issued = installation.issue(CertificateKind.USER, ALICE)
    found = ask(client, build_request(installation, issued.certificate_der))
    assert found.this_update_utc == installation.now - timedelta(minutes=5)
    assert found.next_update_utc == installation.now + timedelta(hours=1)


@pytest.mark.parametrize("name", ["root", "access", "device", "other"])
def test_nobody_else_is_answered_for(installation: Installation, client: TestClient, name: str) -> None:
    issued = installation.issue(CertificateKind.USER, ALICE)
    answer = client.post(f"/ocsp/{name}", content=build_request(installation, issued.certificate_der))
    assert answer.content == UNAUTHORIZED


@pytest.mark.parametrize("data", [b"", b"noise", b"\x30\x82\xff\xff", b"x" * 4097, b"x" * 1_000_000])
def test_what_is_no_request_is_malformed(client: TestClient, data: bytes) -> None:
    assert client.post("/ocsp/issuing", content=data).content == MALFORMED


@pytest.mark.parametrize("text", ["", "*", "%00", "%F0%9F%98%80", "a", "AAAA", "A" * 8000])
def test_what_is_no_request_in_a_path_is_malformed(client: TestClient, text: str) -> None:
    assert client.get(f"/ocsp/issuing/{text}").content == MALFORMED


def test_a_request_in_a_path_is_answered_however_it_is_quoted(installation: Installation, client: TestClient) -> None:
    issued = installation.issue(CertificateKind.USER, ALICE)
    text = base64.b64encode(build_request(installation, issued.certificate_der)).decode()
    for written in (text, text.rstrip("="), text.replace("+", "%2B").replace("/", "%2F"), text.replace("+", "%20")):
        found = ocsp.load_der_ocsp_response(client.get(f"/ocsp/issuing/{written}").content)
        assert found.certificate_status is ocsp.OCSPCertStatus.GOOD


def test_while_the_database_is_away_nobody_is_told_anything_wrong(installation: Installation, tmp_path: Path) -> None:
    issued = installation.issue(CertificateKind.USER, ALICE)
    store = Store(f"sqlite:///{tmp_path}/missing/evertunnel.db")
    with build_client(installation, store) as client:
        assert client.get("/crl/issuing.crl").status_code == 503
        request = build_request(installation, issued.certificate_der)
        assert client.post("/ocsp/issuing", content=request).content == TRY_LATER
    store.close()


def test_while_the_signer_is_away_the_answer_is_to_try_later(installation: Installation) -> None:
    class Away:
        def sign(self, certificate_id: str) -> bytes:
            raise UnavailableError(certificate_id)

    issued = installation.issue(CertificateKind.USER, ALICE)
    with build_client(installation, signer=Away()) as client:
        request = build_request(installation, issued.certificate_der)
        assert client.post("/ocsp/issuing", content=request).content == TRY_LATER
