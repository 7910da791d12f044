"""Several workers: one of them answers a packet, whichever it came to, and nobody gets in by choosing another."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from evertunnel import clock
from evertunnel.actions.deny import deny
from evertunnel.model import Reason, SubjectKind
from evertunnel.protocols.eap.open_conversations import STATE_BYTES
from evertunnel.servers.accounting_server import AccountingServer, Pending
from evertunnel.servers.logins import Elsewhere, Reply, Verdict
from evertunnel.servers.workers import ALONE, Place
from tests.peers import accounting, radius
from tests.unit.servers.conftest import SOURCE, Scene
from tests.unit.servers.workers import Workers, open_workers

ALICE = "alice@corp.example"


@pytest.fixture
def workers(scene: Scene) -> Iterator[Workers]:
    with open_workers(scene) as workers:
        yield workers


@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_a_state_names_its_worker_and_no_other_state_names_one(count: int) -> None:
    for number in range(count):
        states = {Place(number, count).new_state() for _ in range(20)}
        assert len(states) == 20
        assert {len(state) for state in states} == {STATE_BYTES}
        for state in states:
            assert {Place(other, count).find_owner(os.urandom(16), state, awake=count) for other in range(count)} == {
                number
            }
    for first in range(count, 256):
        assert ALONE.find_owner(bytes(16), bytes((first,)) + bytes(15), awake=1) is None
        assert Place(0, count).find_owner(bytes(16), bytes((first,)) + bytes(15), awake=count) is None
    assert Place(0, count).find_owner(bytes(16), b"", awake=count) is None


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_packets_that_continue_nothing_spread_evenly(count: int) -> None:
    owners = Counter(Place(0, count).find_owner(os.urandom(16), None, awake=count) for _ in range(2_000 * count))
    assert set(owners) == set(range(count))
    assert all(1_700 < times < 2_300 for times in owners.values())


def test_a_login_all_of_whose_packets_come_to_the_wrong_worker(workers: Workers) -> None:
    gateway = workers.new_gateway()
    assert gateway.log_in(workers.scenes[0].new_client()).code == radius.ACCEPT
    assert workers.handed_over == len(gateway.answers) > 5
    (attempt,) = workers.scenes[0].installation.list_attempts()
    assert attempt.reason == Reason.GRANTED


def test_logins_at_both_workers_at_once_keep_apart(workers: Workers) -> None:
    gateways = [workers.new_gateway(at=at % 2) for at in range(20)]
    assert [each.log_in(workers.scenes[0].new_client()).code for each in gateways] == [radius.ACCEPT] * 20
    began = {each.answers[0].state[0] for each in gateways if each.answers[0].state}
    assert began == {0, 1}
    assert len(workers.scenes[0].installation.list_sessions()) == 20


def test_the_first_packet_repeated_to_the_other_worker_begins_nothing_there(workers: Workers) -> None:
    for _ in range(20):
        request = workers.scenes[0].gateway.build(workers.scenes[0].new_client().answer_identity())
        owners, replies = set(), set()
        for at in (0, 1, 0, 1):
            owner, outcome = workers.receive(request, at=at)
            assert isinstance(outcome, Reply)
            owners.add(owner)
            replies.add(outcome.data)
        assert (len(owners), len(replies)) == (1, 1)


def test_a_login_repeated_packet_by_packet_to_both_workers_is_one_attempt(workers: Workers) -> None:
    gateway = workers.new_gateway(at=0)
    assert gateway.log_in(workers.scenes[0].new_client()).code == radius.ACCEPT
    for answer in gateway.answers:
        assert [workers.carry(answer.request, at=at) for at in (0, 1)] == [answer.data] * 2
    assert len(workers.scenes[0].installation.list_attempts()) == 1
    assert len(workers.scenes[0].installation.list_sessions()) == 1


def test_a_last_packet_at_both_workers_before_its_commit_is_one_attempt(workers: Workers) -> None:
    last = workers.new_gateway(at=0).build_last_request(workers.scenes[0].new_client())
    outcomes = [workers.receive(last, at=at) for at in (0, 1)]
    verdicts = [(worker, outcome) for worker, outcome in outcomes if isinstance(outcome, Verdict)]
    ((worker, verdict),) = verdicts
    (accept,) = workers.scenes[worker].commit(verdict)
    assert [workers.carry(last, at=at) for at in (0, 1)] == [accept] * 2
    assert len(workers.scenes[0].installation.list_attempts()) == 1


def test_an_accept_repeated_to_the_other_worker_after_a_denial_is_a_reject(workers: Workers) -> None:
    accept = workers.new_gateway(at=0).log_in(workers.scenes[0].new_client())
    assert accept.code == radius.ACCEPT
    deny(workers.scenes[0].installation.store, SubjectKind.USER, ALICE, reason="left", actor="t", now=clock.now())
    for at in (0, 1):
        reply = workers.carry(accept.request, at=at)
        assert reply is not None
        assert reply[0] == radius.REJECT
    reasons = [attempt.reason for attempt in workers.scenes[0].installation.list_attempts()]
    assert reasons == [Reason.GRANTED, Reason.USER_DENIED]


@pytest.mark.parametrize("at", [0, 1])
def test_what_is_forged_costs_the_other_worker_nothing(workers: Workers, at: int) -> None:
    scene = workers.scenes[at]
    good = scene.gateway.build(b"", state=Place(1 - at, 2).new_state())
    assert isinstance(scene.receive(good), Elsewhere)
    for place in range(len(good)):
        assert scene.receive(good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :]) is None
    assert scene.receive(radius.build_request(scene.secret + b"x", [(radius.STATE, bytes((1 - at,)) * 16)])) is None
    assert scene.receive(good, ("192.0.2.99", 1)) is None


@pytest.mark.parametrize("first", [2, 3, 63, 128, 255])
def test_a_state_of_no_worker_is_silence_at_every_worker(workers: Workers, first: int) -> None:
    for at, scene in enumerate(workers.scenes):
        for state in (bytes((first,)) + os.urandom(15), bytes((first,)), b""):
            assert workers.receive(scene.gateway.build(b"", state=state), at=at) == (at, None)
        assert scene.server.take_dropped() == {"unknown_state": 3}
    assert workers.handed_over == 0


def test_a_state_with_another_workers_number_continues_nothing(workers: Workers) -> None:
    for at in (0, 1):
        client, gateway = workers.scenes[0].new_client(), workers.new_gateway(at=at)
        challenge = gateway.ask(client.answer_identity())
        assert challenge.state is not None
        moved = bytes((1 - challenge.state[0],)) + challenge.state[1:]
        eap = client.answer(challenge.eap)
        assert gateway.send(gateway.build(eap, moved)) is None
        assert gateway.ask(eap, challenge.state).code == radius.CHALLENGE, "nothing was used up"


def test_a_worker_that_was_replaced_knows_no_old_state_and_serves_the_next_login(
    scene: Scene, workers: Workers
) -> None:
    client, gateway = scene.new_client(), workers.new_gateway()
    challenge = gateway.ask(client.answer_identity())
    assert challenge.state is not None
    died = challenge.state[0]
    workers.scenes[died] = Scene(workers.scenes[died].installation, scene.secret, scene.alice, Place(died, 2))
    assert gateway.send(gateway.build(client.answer(challenge.eap), challenge.state)) is None
    assert gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_accounting_repeated_to_another_worker_is_stored_once(scene: Scene) -> None:
    with open_workers(scene) as workers:
        servers = [
            AccountingServer(each.installation.store, each.server.askers.find, Place(number, 2))
            for number, each in enumerate(workers.scenes)
        ]
        for number in range(20):
            request = accounting.build(scene.secret, accounting.START, f"s-{number}")
            outcomes = [server.receive(request, SOURCE, now=clock.now(), uptime=1.0) for server in servers]
            (owner,) = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Pending)]
            assert outcomes[1 - owner] == Elsewhere(owner)
            forged = request[:4] + bytes((request[4] ^ 1,)) + request[5:]
            assert [server.receive(forged, SOURCE, now=clock.now(), uptime=1.0) for server in servers] == [None] * 2
