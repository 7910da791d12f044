"""Logins that nobody finishes: bounded in number, memory and records, and each of them counted."""

import gc
import os
from pathlib import Path

import pytest

from evertunnel.model import Outcome, Reason
from evertunnel.servers.logins import Reply, Verdict
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, build_response
from tests.peers.gateway import Answer
from tests.unit.servers.conftest import Scene

EAP = build_response(0, IDENTITY, b"alice@corp.example")
CAPACITY = 10_000


def send(scene: Scene, eap: bytes, state: bytes | None = None) -> Answer:
    """As a gateway does, ten times as fast."""
    attributes = radius.encode_attributes([*radius.split_eap(eap), *([(radius.STATE, state)] if state else [])])
    request = radius.sign(scene.secret, attributes, authenticator=os.urandom(16))
    reply = scene.receive(request)
    assert isinstance(reply, Reply)
    return Answer(request, reply.data, radius.read_reply(scene.secret, request, reply.data))


def flood(scene: Scene, count: int) -> None:
    """Open logins that say who they are and nothing more."""
    attributes = radius.encode_attributes(radius.split_eap(EAP))
    for _ in range(count):
        request = radius.sign(scene.secret, attributes, authenticator=os.urandom(16))
        assert isinstance(scene.receive(request), Reply)


def read_resident_kilobytes() -> int:
    gc.collect()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_ten_thousand_half_open_logins_are_small_and_the_server_still_serves(scene: Scene) -> None:
    before = read_resident_kilobytes()
    flood(scene, CAPACITY)
    # FreeRADIUS 3.2 takes 84 kB for each; these are to stay below 4.
    assert read_resident_kilobytes() - before < 4 * CAPACITY
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_two_thousand_logins_after_their_client_hello_are_bounded_and_the_server_still_serves(scene: Scene) -> None:
    client = scene.new_client()
    hello = client.answer(send(scene, EAP).eap)
    before = read_resident_kilobytes()
    for _ in range(2_000):
        started = send(scene, EAP)
        assert send(scene, hello, started.state).code == radius.CHALLENGE
    # What OpenSSL holds for a handshake, with room for another build of it.
    assert read_resident_kilobytes() - before < 90 * 2_000
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_the_oldest_login_makes_room_and_is_recorded(scene: Scene) -> None:
    first = send(scene, EAP)
    flood(scene, CAPACITY)
    hello = scene.new_client().answer(first.eap)
    assert scene.gateway.send(scene.gateway.build(hello, first.state)) is None
    assert scene.server.take_dropped() == {"unknown_state": 1}
    scene.expire()
    (attempt,) = scene.installation.list_attempts()
    assert (attempt.outcome, attempt.reason) == (Outcome.FAILED, Reason.CLIENT_STOPPED)
    assert attempt.detail == "too many logins were open at once"
    assert attempt.claimed_identity == "alice@corp.example"


def test_a_flood_is_recorded_so_far_counted_to_the_last_login_and_then_forgotten(scene: Scene) -> None:
    flood(scene, 3_000)
    before = read_resident_kilobytes()
    scene.uptime += 30.1
    scene.expire()
    attempts = scene.installation.list_attempts()
    assert len(attempts) == 20
    assert scene.recorder.take_unrecorded() == {"gw1": 2_980}
    assert {attempt.detail for attempt in attempts} == {"the client did not answer our last message"}
    assert list(scene.server.expire(scene.uptime)) == []
    assert read_resident_kilobytes() - before < 40_000


def test_replies_are_remembered_for_a_bounded_number_of_packets(scene: Scene) -> None:
    refused = build_response(5, 4, b"\0")
    first, second = scene.gateway.build(refused), scene.gateway.build(refused)
    replies = [scene.carry(first), scene.carry(second)]
    flood(scene, 20_000 - 1)
    assert scene.carry(second) == replies[1]
    assert isinstance(scene.receive(first), Verdict), "it was pushed out and is a new packet now"


def test_what_is_pushed_out_of_what_is_remembered_leaves_memory_at_once(scene: Scene) -> None:
    """Circles would stay until all memory is searched for them, which is seldom: the server would grow for long."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT
        scene.uptime += 20.1
        flood(scene, 1)
        verdict = scene.receive_verdict(scene.gateway.build_last_request(scene.new_client()))
        scene.uptime += 20.1
        flood(scene, 1)  # pushed out while it waits for its commit
        assert len(scene.commit(verdict)) == 1
        del verdict
        assert [each for each in gc.get_objects() if isinstance(each, Verdict)] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_an_expired_conversation_gives_a_recorded_attempt(scene: Scene, rounds: int) -> None:
    client = scene.new_client()
    answer = scene.gateway.log_in(client, rounds=rounds)
    eap = client.answer(answer.eap)
    scene.uptime += 30.1
    assert scene.gateway.send(scene.gateway.build(eap, answer.state)) is None, "it is too old already"
    scene.expire()
    scene.expire()
    (attempt,) = scene.installation.list_attempts()
    assert (attempt.outcome, attempt.reason) == (Outcome.FAILED, Reason.CLIENT_STOPPED)
    assert attempt.duration_microseconds == 30_100_000
    assert scene.gateway.send(scene.gateway.build(eap, answer.state)) is None


def test_a_login_is_as_old_as_its_last_answer(scene: Scene) -> None:
    client = scene.new_client()
    answer = scene.gateway.ask(client.answer_identity())
    while answer.code == radius.CHALLENGE:
        scene.uptime += 29.9
        scene.expire()
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert answer.code == radius.ACCEPT


def test_what_is_recorded_of_a_login_does_not_grow_with_its_rounds(scene: Scene) -> None:
    scene.gateway.log_in(scene.new_client(fragment_bytes=1))
    (attempt,) = scene.installation.list_attempts()
    assert len(attempt.story) < 1_000


def test_garbage_ends_a_login_and_keeps_nothing_open(scene: Scene) -> None:
    for _ in range(200):
        started = scene.gateway.ask(EAP)
        assert scene.gateway.ask(build_response(started.eap[1], 13, b"\0garbage"), started.state).code == radius.REJECT
        scene.uptime += 0.05  # below what is recorded of strangers
    assert list(scene.server.expire(scene.uptime + 1_000)) == []
    assert len(scene.installation.list_attempts()) == 200
