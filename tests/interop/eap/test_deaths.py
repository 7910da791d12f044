"""Processes die by SIGKILL at random moments under load: what was answered was committed, nothing happened twice.

Logins are of every kind that may get in: EAP-TLS, PEAP with a certificate and with a password inside, and sessions of
EAP-TLS resumed in both versions of TLS.

`EVERTUNNEL_KILLS` says how often: 20 times unless told otherwise, 200 in `make soak`.
"""

import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import cycle
from pathlib import Path
from ssl import TLSVersion

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from evertunnel.audit import Audit
from evertunnel.effects import EffectState
from evertunnel.errors import DomainError
from evertunnel.model import LoginMethod, Outcome, Reason, SessionState
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.interop.eap.conftest import BOB, PASSWORD, USER_BASE, Live, Wire
from tests.interop.server import OFFSETS, find_children, wait_for
from tests.peers import radius
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.peers.gateway import Answer, Gateway
from tests.peers.peap import InnerMSCHAPv2, InnerTLS, PEAPClient

KILLS = int(os.environ.get("EVERTUNNEL_KILLS", "20"))
pytestmark = pytest.mark.timeout(120 + 3 * KILLS)
METHODS = (LoginMethod.EAP_TLS, LoginMethod.PEAP_EAP_TLS, LoginMethod.PEAP_EAP_MSCHAPV2)
# How a login begins: anew by one of the methods, or with the session of a former one.
KINDS = (*METHODS, TLS_12, TLS_13)
# bob is denied again and again, and his clients go away from a conversation that nobody answers.
REFUSED_FOR = {Reason.USER_DENIED, Reason.CERTIFICATE_ON_HOLD, Reason.CLIENT_STOPPED}


class SilentError(Exception):
    """Nobody answered: a conversation that died with its process."""


@pytest.fixture
def own() -> Iterator[Live]:
    """An installation of the test's own."""
    folder = Path(tempfile.mkdtemp(prefix="evertunnel-test-"))
    folder.chmod(0o755)
    live = Live(folder)
    live.run("policy", "mschapv2", "--on", "--accept-weakness")
    live.run("user", "change", BOB, "--password", password=PASSWORD)
    methods = [f"--method={method}" for method in METHODS]
    live.run("policy", "network", "add", "Bob", "--grant", "--user", BOB, "--position", "1", *methods)
    yield live
    live.server.terminate()
    live.server.wait(timeout=30)
    shutil.rmtree(folder, ignore_errors=True)


class Bob:
    """bob's clients. Two threads may ask for one at the same time."""

    def __init__(self, live: Live) -> None:
        self._root_pem = live.root_file.read_bytes()
        self._root = x509.load_pem_x509_certificate(self._root_pem)
        self._credential = live.issue("--user", BOB)
        self.last = {version: self.new(version) for version in (TLS_12, TLS_13)}

    def new(self, version: TLSVersion) -> Client:
        """One that proves its key."""
        return Client(
            root_pem=self._root_pem, pem=self._credential.pem, identity=BOB, server_name="localhost", version=version
        )

    def resume(self, first: Client) -> Client:
        """One that comes with the session of another, and can prove its key if that is asked for."""
        assert first.tls.session is not None
        return Client(
            root_pem=b"", pem=None, identity=BOB, server_name="localhost", context=first.context,
            resume=first.tls.session,
        )  # fmt: skip

    def begin(self, kind: LoginMethod | TLSVersion) -> Client | PEAPClient:
        """One of KINDS."""
        match kind:
            case LoginMethod.EAP_TLS:
                return self.new(TLS_13)
            case LoginMethod.PEAP_EAP_TLS:
                return PEAPClient(self._root, InnerTLS(self._root, self._credential), identity=BOB)
            case LoginMethod.PEAP_EAP_MSCHAPV2:
                return PEAPClient(self._root, InnerMSCHAPv2(BOB, PASSWORD), identity=BOB)
            case TLSVersion():
                return self.resume(self.last[kind])
        raise AssertionError(kind)


class Load:
    """Logins, enrolments and denials that go on until told to stop, and what their callers were told."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.stop = threading.Event()
        self.accepted: list[tuple[str, str]] = []  # the session's id, and how it was proven who he is
        self.came_in: Counter[str] = Counter()
        self.issued: list[bytes] = []
        self.counted: Counter[str] = Counter()
        self._bob = Bob(live)
        self._first = dict(self._bob.last)
        for client in self._first.values():
            assert self._take(client, LoginMethod.EAP_TLS).code == radius.ACCEPT
        self._kinds = cycle(KINDS)
        self._problems: list[Exception] = []
        actions = [self.log_in] * 2 + [self.enrol, self.deny_and_allow]
        self._threads = [threading.Thread(target=self._repeat, args=(action,)) for action in actions]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_what: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()
        assert self._problems == []

    def _repeat(self, action: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                action()
            except Exception as error:
                self._problems.append(error)
                raise

    def log_in(self) -> None:
        """One login of bob's, of the kind whose turn it is."""
        kind = next(self._kinds)
        client = self._bob.begin(kind)
        try:
            answer = self._take(client, kind if isinstance(kind, LoginMethod) else LoginMethod.EAP_TLS)
        except SilentError:
            self.counted["broken off"] += 1
            return
        if answer.code != radius.ACCEPT:
            self.counted["refused"] += 1
            return
        if isinstance(client, PEAPClient):
            assert answer.session_keys == client.keys
        elif isinstance(kind, TLSVersion):
            self.counted["resumed" if client.tls.session_reused else "not resumed"] += 1
            self._bob.last[kind] = client
        self.came_in[kind.name] += 1

    def resume_first(self, version: TLSVersion) -> bool:
        """A login with the session of before the first death. False: nobody answers yet."""
        client = self._bob.resume(self._first[version])
        try:
            assert self._take(client, LoginMethod.EAP_TLS).code == radius.ACCEPT
        except SilentError:
            return False
        assert client.tls.session_reused, "the keys of tickets outlive each worker"
        return True

    def _take(self, client: Client | PEAPClient, method: LoginMethod) -> Answer:
        """Carry a login; what is not answered is sent again, three times, as gateways do. Raises SilentError."""
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as own:
            own.connect(("127.0.0.1", self.live.ports["radius"]))
            wire = Wire(own)

            def carry(data: bytes) -> bytes:
                for _ in range(3):
                    with suppress(ConnectionRefusedError):
                        wire.send(data)
                        while reply := wire.receive(seconds=1.0):
                            if answers(reply, data):
                                return reply
                raise SilentError

            def answers(reply: bytes, data: bytes) -> bool:
                """Not when it comes late to one that was sent again."""
                with suppress(AssertionError):
                    radius.read_reply(self.live.secret, data, reply)
                    return True
                return False

            # A name may be tried ten times a minute from one address.
            address = f"198.18.{random.randrange(256)}.{random.randrange(256)}".encode()
            gateway = Gateway(self.live.secret, carry, attributes=[(radius.CALLING_STATION_ID, address)])
            answer = gateway.log_in(client)
        if answer.code == radius.ACCEPT:
            self.accepted.append((answer.packet[radius.CLASS][0].decode(), method))
            self.counted["accepted"] += 1
        return answer

    def enrol(self) -> None:
        """One short-lived certificate of alice's."""
        try:
            self.issued.append(self.live.enrol())
        except DomainError:
            self.counted["not issued"] += 1
        time.sleep(0.1)

    def deny_and_allow(self) -> None:
        """By turns, until each is known to be done: a caller whose answer got lost asks again."""
        for method, path, body in (
            ("POST", "/v1/denials", {"kind": "user", "name": BOB, "reason": "test"}),
            ("DELETE", f"/v1/denials/user/{BOB}", None),
        ):
            while not self._ask(method, path, body):
                time.sleep(0.05)
            time.sleep(0.15)

    def _ask(self, method: str, path: str, body: object) -> bool:
        transport = httpx2.HTTPTransport(uds=str(self.live.state.path / "run" / "admin.sock"))
        with httpx2.Client(transport=transport, base_url="http://admin", timeout=5) as client:
            try:
                answer = client.request(method, path, json=body)
            except httpx2.HTTPError:
                self.counted["unknown"] += 1
                return False
        # 409 and 404: it was done, and the answer got lost.
        assert answer.is_success or answer.status_code in (404, 409), answer.text
        return True


def kill_at_random(live: Live) -> Counter[str]:
    """SIGKILL to one process after another, each at a random moment after it is there."""
    chance, killed = random.Random(3), Counter[str]()
    names = {offset: name for name, offset in OFFSETS.items()}
    for _ in range(KILLS):
        time.sleep(chance.uniform(0, 0.3))
        pid = chance.choice(wait_for(lambda: find_children(live.server.pid)))
        with suppress(ProcessLookupError):
            killed[names.get(Path(f"/proc/{pid}").stat().st_uid - USER_BASE, "starting")] += 1
            os.kill(pid, signal.SIGKILL)
    return killed


def test_what_was_answered_was_committed_and_nothing_happened_twice(own: Live) -> None:
    with Load(own) as load:
        killed = kill_at_random(own)
        assert own.server.poll() is None
        before = load.came_in.copy()
        wait_for(lambda: len(load.came_in - before) == len(KINDS), seconds=30)  # by themselves
    for version in (TLS_12, TLS_13):
        wait_for(lambda version=version: load.resume_first(version))
    denial = own.run("deny", "user", BOB, "--reason", "the end", check=False)
    assert "is denied" in denial or "denied already" in denial, denial
    assert sum(killed.values()) == KILLS
    assert "Traceback" not in own.log_file.read_text()
    verify_records(own, load)
    print(f"killed {dict(killed)}; {dict(load.counted)}; {len(load.issued)} certificates")


def verify_records(own: Live, load: Load) -> None:
    """Nobody was told what is not on record, and the record's order is one in which all of it was right."""
    store = Store(own.state.database_url)
    with store.read() as connection:
        assert verify_chain(connection).problems == []
        audit = connection.execute(select(tables.audit.c.batch, tables.audit.c.name)).all()
        attempts = connection.execute(
            select(tables.attempts, tables.sessions.c.method)
            .join(tables.users, tables.users.c.id == tables.attempts.c.user_id)
            .outerjoin(tables.sessions, tables.sessions.c.id == tables.attempts.c.session_id)
            .where(tables.users.c.name == BOB)
        ).all()
        refused = connection.execute(
            select(tables.attempts.c.reason).where(tables.attempts.c.outcome != Outcome.GRANTED.value)
        ).all()
        effects = connection.execute(select(tables.effects.c.denial_id, tables.effects.c.state)).all()
        sessions = dict(connection.execute(select(tables.sessions.c.id, tables.sessions.c.state)).all())
        known = set(connection.execute(select(tables.certificates.c.certificate_der)).scalars())
    store.close()
    granted = [row.session_id for row in attempts if row.outcome == Outcome.GRANTED]
    assert len(granted) == len(set(granted)) and set(granted) <= sessions.keys()
    assert set(load.accepted) <= {(row.session_id, row.method or LoginMethod.EAP_TLS) for row in attempts}, "on record"
    assert {row.reason for row in refused} <= REFUSED_FOR, "for nothing else"
    assert len(load.accepted) == len(dict(load.accepted)), "each under a session of its own"
    for pem in load.issued:
        der = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :]).public_bytes(Encoding.DER)
        assert der in known, "who got a certificate is on record"
    story = sorted(
        [(row.batch, row.name) for row in audit if row.name in (Audit.USER_DENY, Audit.USER_ALLOW)]
        + [(row.batch, row.outcome) for row in attempts if row.outcome == Outcome.GRANTED]
    )
    denied = False
    for _, word in story:
        if word in (Audit.USER_DENY, Audit.USER_ALLOW):
            assert denied is (word == Audit.USER_ALLOW), "none was done twice"
            denied = word == Audit.USER_DENY
        else:
            assert not denied, "a grant stands behind a denial"
    assert denied
    of_denials = Counter(row.denial_id for row in effects if row.denial_id)
    assert set(of_denials.values()) == {1} and len(of_denials) == [word for _, word in story].count(Audit.USER_DENY)
    waiting = [row for row in effects if row.denial_id and row.state == EffectState.PENDING]
    assert len(waiting) == 1, "what the others had queued was taken back; the last denial's waits for the gateway"
    assert {sessions[session] for session in granted} <= {SessionState.ENDING, SessionState.ENDED}
