"""The signer's socket: who calls is the kernel's word, what each may ask for is fixed, and nobody can break it."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evertunnel.actions.issue_certificate import Wanted, grant_certificate
from evertunnel.errors import InvalidInputError, NotFoundError, UnavailableError
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.kinds import KINDS
from evertunnel.signer_socket import ALLOWED, RENEWED, SignerClient, SignerServer
from tests.installation import ADMIN, Installation
from tests.unit.pki.samples import make_grant

Serve = Callable[[str], SignerClient]


@pytest.fixture
def serve(installation: Installation, tmp_path: Path) -> Iterator[Serve]:
    """Serve with this very user counting as one of our processes; returns a client."""
    servers: list[SignerServer] = []

    def start(process: str) -> SignerClient:
        path = tmp_path / "signer.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        users = {os.getuid(): process} if process else {os.getuid() + 1: "everything"}
        servers.append(SignerServer(listener, installation.signer, users))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return SignerClient(path)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def grant(installation: Installation, kind: CertificateKind, authority: Authority) -> str:
    name = installation.choose_name(kind)
    with installation.store.write(installation.now) as tx:
        wanted = Wanted(kind, public_key_der=make_grant(kind).public_key_der, authority=authority, **name)
        return grant_certificate(tx, wanted, actor=ADMIN)


EVERY = [(kind, authority) for kind in CertificateKind for authority in sorted(KINDS[kind].authorities)]
# Written out a second time: this is who could sign what after being taken over.
WANTED = {
    "web-admin": {
        (CertificateKind.USER, Authority.ISSUING), (CertificateKind.DEVICE, Authority.DEVICE),
        (CertificateKind.RADSEC, Authority.ISSUING),
    },
    "radsec": {(CertificateKind.RADSEC_SERVER, Authority.ISSUING)},
    "web-public": {
        (CertificateKind.SHORT_LIVED, Authority.ACCESS), (CertificateKind.OCSP_SIGNER, Authority.ISSUING),
    },
    "gate": {(CertificateKind.OCSP_SIGNER, Authority.DEVICE)},
    "gateway": {(CertificateKind.GATEWAY, Authority.ISSUING)},
    "agents": {
        (CertificateKind.GATEWAY, Authority.ISSUING), (CertificateKind.AGENT, Authority.ISSUING),
        (CertificateKind.AGENT_SERVER, Authority.ISSUING),
    },
}  # fmt: skip


def test_each_process_may_ask_for_what_was_agreed() -> None:
    assert ALLOWED == WANTED
    server = {(CertificateKind.POLICY_SERVER, Authority.ISSUING)}
    assert RENEWED == {"radius": server, "web-public": server}  # noqa: SIM300


@pytest.mark.parametrize(
    "process", ["web-admin", "web-public", "gate", "gateway", "agents", "radsec", "radius", "signer", "unknown", ""]
)
def test_a_process_gets_its_own_kinds_and_no_others(installation: Installation, serve: Serve, process: str) -> None:
    client = serve(process)
    for kind, authority in EVERY:
        certificate_id = grant(installation, kind, authority)
        if (kind, authority) in WANTED.get(process, set()):
            assert client.sign(certificate_id)
        else:
            with pytest.raises(InvalidInputError, match="this process may not ask for"):
                client.sign(certificate_id)


def test_without_users_of_their_own_all_may_ask_for_everything(installation: Installation, serve: Serve) -> None:
    client = serve("everything")
    assert all(client.sign(grant(installation, kind, authority)) for kind, authority in EVERY)


def test_a_refusal_arrives_as_what_it_was(installation: Installation, serve: Serve) -> None:
    client = serve("everything")
    with pytest.raises(NotFoundError, match="no certificate 'nothing' was granted"):
        client.sign("nothing")
    with pytest.raises(NotFoundError):
        client.sign("\u202e'; DROP TABLE certificates; --")


BROKEN = [b"", b"\n", b"noise\n", b"[]\n", b"null\n", b"{}\n", b'{"sign"', b"\xff\xfe\n", b"[" * 5000 + b"\n",
          b'{"sign": "' + b"x" * 70_000 + b'"}\n']  # fmt: skip


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_question_is_answered_or_dropped_and_the_next_one_is_served(
    installation: Installation, serve: Serve, tmp_path: Path, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    client = serve("everything")
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(5)
        caller.connect(str(tmp_path / "signer.sock"))
        caller.sendall(data)
        caller.shutdown(socket.SHUT_WR)
        with caller.makefile("rb") as answers:
            assert b"error" in answers.readline()
    assert client.sign(grant(installation, CertificateKind.USER, Authority.ISSUING))
    assert "Traceback" not in capfd.readouterr().err


def test_a_caller_that_hangs_up_leaves_no_traceback(
    installation: Installation, serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = serve("everything")
    for _ in range(20):
        caller = socket.socket(socket.AF_UNIX)
        caller.connect(str(tmp_path / "signer.sock"))
        caller.close()
    assert client.sign(grant(installation, CertificateKind.USER, Authority.ISSUING))
    assert "Traceback" not in capfd.readouterr().err


def test_many_callers_at_once_are_served(installation: Installation, serve: Serve) -> None:
    client = serve("everything")
    ids = [grant(installation, CertificateKind.USER, Authority.ISSUING) for _ in range(16)]
    signed: dict[str, bytes] = {}
    threads = [threading.Thread(target=lambda one=one: signed.update({one: client.sign(one)})) for one in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert set(signed) == set(ids)


def test_a_signer_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="the signer cannot be reached"):
        SignerClient(tmp_path / "nothing.sock").sign("x")


ANSWERS = [b"", b"\n", b"noise\n", b"[]\n", b"null\n", b'"certificate"\n', b'{"certificate": 7}\n', b"{}\n",
           b'{"certificate": "\xc3\xa4"}\n', b'{"kind": [], "error": "x"}\n']  # fmt: skip


@pytest.mark.parametrize("data", ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_that_is_none_is_unavailable(tmp_path: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "odd.sock"))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(data)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UnavailableError):
            SignerClient(tmp_path / "odd.sock").sign("x")
        thread.join(timeout=5)
