"""Two RADIUS workers of the real program: who answers, what a death takes with it, and races with denials."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from evertunnel import clock
from evertunnel.actions.allow import allow
from evertunnel.actions.deny import deny
from evertunnel.audit import Audit
from evertunnel.model import Outcome, SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.interop.eap.conftest import RADIUS_WORKERS, Live, Wire
from tests.interop.server import find_children, is_alive, wait_for
from tests.peers import accounting, radius
from tests.peers.certificates import Credential
from tests.peers.eap_tls import Client
from tests.peers.gateway import Answer, Gateway

NewWire = Callable[..., Wire]
# So many attributes before a State hide it from the kernel, which then chooses by the Authenticator.
MANY = [(radius.PROXY_STATE, b"%d" % number) for number in range(40)]
RACING_SECONDS = 2.0


@pytest.fixture(scope="module")
def grace(live: Live) -> tuple[str, Credential]:
    """A user of this file's own, and her certificate."""
    name = "grace@corp.example"
    live.run("user", "add", name)
    live.run("group", "join", "Long-lived", "--user", name)
    return name, live.issue("--user", name)


def new_client(live: Live, user: tuple[str, Credential]) -> Client:
    return Client(root_pem=live.root_file.read_bytes(), pem=user[1].pem, identity=user[0], server_name="localhost")


def find_workers(live: Live) -> list[int]:
    """Pids of the processes that hold the RADIUS port, all of them children of the supervisor, and each one socket."""
    port = f":{live.ports['radius']:04X} "
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines() if port in line]
    links = {f"socket:[{row[9]}]" for row in rows}
    held = {}
    for pid in find_children(live.server.pid):
        try:
            own = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()} & links
        except OSError:  # it ended meanwhile
            continue
        # One that was forked just now holds all of them, until it has closed those of the others.
        if len(own) == 1:
            held[pid] = own
    assert len({link for own in held.values() for link in own}) == len(held)
    return sorted(held)


@pytest.fixture
def workers(live: Live) -> list[int]:
    return wait_for(lambda: len(found := find_workers(live)) == RADIUS_WORKERS and found)  # type: ignore[no-any-return]


def begin(live: Live, wire: Wire, worker: int, user: tuple[str, Credential]) -> tuple[Gateway, Client, Answer]:
    """A login that a worker of our choice began: its number is the first octet of the State."""
    for _ in range(200):
        gateway, client = Gateway(live.secret, wire.carry), new_client(live, user)
        answer = gateway.ask(client.answer_identity())
        assert answer.state is not None
        if answer.state[0] == worker:
            return gateway, client, answer
    raise AssertionError("one worker begins everything")


def finish(gateway: Gateway, client: Client, answer: Answer) -> Answer:
    while answer.code == radius.CHALLENGE:
        answer = gateway.ask(client.answer(answer.eap), answer.state)
    return answer


def test_one_gateway_on_one_port_is_served_by_both_workers(
    live: Live, new_wire: NewWire, workers: list[int], grace: tuple[str, Credential]
) -> None:
    wire = new_wire()
    for worker in range(len(workers)):
        assert finish(*begin(live, wire, worker, grace)).code == radius.ACCEPT


def test_packets_that_the_kernel_gives_to_the_wrong_worker_are_handed_over(
    live: Live, new_wire: NewWire, workers: list[int], grace: tuple[str, Credential]
) -> None:
    assert len(workers) == RADIUS_WORKERS
    wire = new_wire()  # connected: an answer from elsewhere would not come through
    for _ in range(6):  # of their 40 packets about every second lands wrong
        gateway = Gateway(live.secret, wire.carry, attributes=MANY)
        assert gateway.log_in(new_client(live, grace)).code == radius.ACCEPT
        for answer in gateway.answers:
            assert wire.carry(answer.request) == answer.data


def test_accounting_is_answered_by_both_workers(live: Live, new_wire: NewWire) -> None:
    wire = new_wire(port="accounting")
    for number in range(20):
        request = accounting.build(live.secret, accounting.START, f"workers-{number}")
        answer = wire.carry(request)
        assert answer is not None
        accounting.read_answer(live.secret, request, answer)
        assert wire.carry(request) == answer


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def find_number(live: Live, wire: Wire, pid: int, user: tuple[str, Credential]) -> int:
    """Which number a worker has: while it stands still, logins that the other began go on, and its own do not."""
    logins = [begin(live, wire, number, user) for number in range(RADIUS_WORKERS)]
    silent = []
    with stopped(pid):
        for number, (gateway, client, answer) in enumerate(logins):
            wire.send(gateway.build(client.answer(answer.eap), answer.state))
            if wire.receive(seconds=0.5) is None:
                silent.append(number)
    assert wire.receive() is not None, "it answers when it goes on"
    (number,) = silent
    return number


def test_a_worker_that_stands_still_stops_nobody_else(
    live: Live, new_wire: NewWire, workers: list[int], grace: tuple[str, Credential]
) -> None:
    wire = new_wire()
    number = find_number(live, wire, workers[0], grace)
    mine, other = begin(live, wire, number, grace), begin(live, wire, 1 - number, grace)
    with stopped(workers[0]):
        gateway, client, answer = other
        gateway.attributes = MANY
        eap = client.answer(answer.eap)
        # Some of these land at the other and have to be handed over to the one that stands still.
        for _ in range(50):
            wire.send(mine[0].build(b"", mine[2].state))
        while answer.code == radius.CHALLENGE:
            gateway.attributes = []
            answer = gateway.ask(eap, answer.state)
            eap = client.answer(answer.eap) if answer.code == radius.CHALLENGE else b""
        assert answer.code == radius.ACCEPT


def test_a_killed_worker_is_replaced_alone_and_only_its_open_logins_are_lost(
    live: Live, new_wire: NewWire, workers: list[int], grace: tuple[str, Credential]
) -> None:
    for victim in workers:
        wire, quiet = new_wire(), new_wire()
        number = find_number(live, wire, victim, grace)
        before = set(find_children(live.server.pid))
        lost, kept = begin(live, quiet, number, grace), begin(live, wire, 1 - number, grace)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda pid=victim: not is_alive(pid))
        assert finish(*kept).code == radius.ACCEPT, "the other one goes on meanwhile"
        quiet.send(lost[0].build(lost[1].answer(lost[2].eap), lost[2].state))
        wait_for(lambda pid=victim: len(found := find_workers(live)) == RADIUS_WORKERS and pid not in found)
        assert before - set(find_children(live.server.pid)) == {victim}
        assert finish(*begin(live, wire, number, grace)).code == radius.ACCEPT
        assert quiet.receive(seconds=0.2) is None, "nobody answers what nobody knows"
        for _ in range(4):  # and what lands wrong is handed over to the new one
            gateway = Gateway(live.secret, wire.carry, attributes=MANY)
            assert gateway.log_in(new_client(live, grace)).code == radius.ACCEPT


def log_in_until(
    live: Live, wire: Wire, user: tuple[str, Credential], ended: threading.Event, codes: list[int]
) -> None:
    while not ended.is_set():
        codes.append(Gateway(live.secret, wire.carry).log_in(new_client(live, user)).code)


def test_logins_over_two_workers_and_denials_cannot_cross(
    live: Live, new_wire: NewWire, grace: tuple[str, Credential]
) -> None:
    ended, codes = threading.Event(), list[int]()
    threads = [threading.Thread(target=log_in_until, args=(live, new_wire(), grace, ended, codes)) for _ in range(4)]
    for thread in threads:
        thread.start()
    store = Store(live.state.database_url)
    until, denials = time.monotonic() + RACING_SECONDS, 0
    while time.monotonic() < until or min(map(codes.count, (radius.ACCEPT, radius.REJECT))) < 10:
        deny(store, SubjectKind.USER, grace[0], reason="race", actor="test", now=clock.now())
        time.sleep(0.05)
        allow(store, SubjectKind.USER, grace[0], actor="test", now=clock.now())
        time.sleep(0.05)
        denials += 1
    ended.set()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    denied, granted = False, 0
    for _, word in tell_story(store, grace[0])[-len(codes) - 2 * denials :]:
        if word in (Audit.USER_DENY, Audit.USER_ALLOW):
            denied = word == Audit.USER_DENY
        elif word == Outcome.GRANTED:  # a refusal may be recorded later than it was said
            assert not denied, "a grant behind a denial"
            granted += 1
    store.close()
    assert granted == codes.count(radius.ACCEPT), "what was answered is what was recorded"


def tell_story(store: Store, name: str) -> list[tuple[int, str]]:
    """One user's denials, their ends and her attempts, in the order of their commits."""
    audit, attempts, users = tables.audit.c, tables.attempts.c, tables.users.c
    with store.read() as connection:
        assert verify_chain(connection).problems == []
        user_id = connection.execute(select(users.id).where(users.name == name)).scalar_one()
        told = connection.execute(
            select(audit.batch, audit.name).where(
                audit.name.in_([Audit.USER_DENY.value, Audit.USER_ALLOW.value]), audit.subject_id == user_id
            )
        ).all()
        tried = connection.execute(select(attempts.batch, attempts.outcome).where(attempts.user_id == user_id)).all()
    return sorted(tuple(row) for row in (*told, *tried))
