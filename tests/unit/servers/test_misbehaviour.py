"""Slow and lying clients and gateways: what each gets. Those who break a rule by the letter are in test_eap_rules."""

import os
import struct

import pytest

from evertunnel.model import Outcome, Reason
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, LENGTH, MORE, TLS, build_response
from tests.peers.gateway import Gateway
from tests.unit.servers.conftest import SOURCE, Scene
from tests.unit.servers.test_floods import read_resident_kilobytes, send

NAS_IP_ADDRESS, NAS_IDENTIFIER = 4, 32


def last_attempt(scene: Scene) -> tuple[str, str]:
    attempt = scene.installation.list_attempts()[-1]
    return attempt.outcome, attempt.reason


def test_a_client_that_repeats_its_answer_to_the_next_question_is_refused(scene: Scene) -> None:
    client = scene.new_client(fragment_bytes=50)
    started = scene.gateway.ask(client.answer_identity())
    first = client.answer(started.eap)
    second = scene.gateway.ask(first, started.state)
    assert scene.gateway.ask(first, second.state).code == radius.REJECT
    assert last_attempt(scene) == (Outcome.REFUSED, Reason.TLS_FAILED)


def test_a_client_that_calls_itself_another_in_the_middle_is_refused(scene: Scene) -> None:
    client = scene.new_client()
    answer = scene.gateway.log_in(client, rounds=1)
    other = build_response(answer.eap[1], IDENTITY, b"bob@corp.example")
    assert scene.gateway.ask(other, answer.state).code == radius.REJECT
    attempt = scene.installation.list_attempts()[-1]
    assert (attempt.reason, attempt.claimed_identity) == (Reason.TLS_FAILED, "alice@corp.example")


def test_a_slow_client_with_fragments_of_one_octet_keeps_its_place_for_a_hundred_rounds_only(scene: Scene) -> None:
    answer = scene.gateway.ask(build_response(1, IDENTITY, b"alice@corp.example"))
    rounds = 1
    while answer.code == radius.CHALLENGE:
        scene.uptime += 29
        fragment = build_response(answer.eap[1], TLS, bytes((MORE,)) + b"\x16")
        answer = scene.gateway.ask(fragment, answer.state)
        rounds += 1
    assert rounds == 101
    assert last_attempt(scene) == (Outcome.REFUSED, Reason.TOO_MANY_ROUNDS)


def test_beginnings_of_client_hellos_are_bounded_in_memory(scene: Scene) -> None:
    fragment = struct.pack("!BI", LENGTH | MORE, 60_000) + b"\x16" + bytes(3_700)
    before = read_resident_kilobytes()
    for _ in range(5_000):
        started = send(scene, build_response(0, IDENTITY, b"x"))
        send(scene, build_response(started.eap[1], TLS, fragment), started.state)
    assert read_resident_kilobytes() - before < 40_000, "5,000 of them would hold 19 MB and grow to 300"
    assert len(scene.server._conversations) == 1_000
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_a_gateway_that_gives_every_client_the_same_identifier_confuses_nobody(scene: Scene) -> None:
    clients = [scene.new_client() for _ in range(3)]
    answers = [scene.gateway.send(scene.gateway.build(client.answer_identity(), identifier=7)) for client in clients]
    while any(answer is not None and answer.code == radius.CHALLENGE for answer in answers):
        answers = [
            scene.gateway.send(scene.gateway.build(client.answer(answer.eap), answer.state, identifier=7))
            for client, answer in zip(clients, answers, strict=True)
            if answer is not None
        ]
    assert [answer and answer.code for answer in answers] == [radius.ACCEPT] * 3
    assert len({answer.session_keys for answer in answers if answer}) == 3


def test_a_gateway_that_changes_its_port_with_every_packet_is_served(scene: Scene) -> None:
    ports = iter(range(1_024, 65_000))
    roaming = Gateway(scene.secret, lambda data: scene.carry(data, (SOURCE[0], next(ports))))
    assert roaming.log_in(scene.new_client()).code == radius.ACCEPT


def test_a_gateway_that_repeats_from_another_port_gets_silence_and_the_login_goes_on(scene: Scene) -> None:
    client = scene.new_client()
    started = scene.gateway.ask(client.answer_identity())
    request = scene.gateway.build(client.answer(started.eap), started.state)
    answer = scene.gateway.send(request)
    assert answer is not None
    assert scene.carry(request, (SOURCE[0], 50_001)) is None
    while answer.code == radius.CHALLENGE:
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert answer.code == radius.ACCEPT


def test_what_a_gateway_calls_itself_counts_for_nothing(scene: Scene) -> None:
    lies = [(NAS_IDENTIFIER, b"gw-of-somebody-else"), (NAS_IP_ADDRESS, bytes(4)), (NAS_IDENTIFIER, b"")]
    gateway = scene.new_gateway(attributes=lies)
    assert gateway.log_in(scene.new_client()).code == radius.ACCEPT
    (session,) = scene.installation.list_sessions()
    assert session.gateway_id == scene.server.askers.find(SOURCE[0]).gateway.id  # type: ignore[union-attr]


def test_a_gateway_that_hands_one_clients_words_to_anothers_conversation_lets_neither_in(scene: Scene) -> None:
    alice, mallory = scene.new_client(), scene.new_client(pem=None, identity="mallory@corp.example")
    first, second = scene.gateway.ask(alice.answer_identity()), scene.gateway.ask(mallory.answer_identity())
    first = scene.gateway.ask(alice.answer(first.eap), first.state)
    second = scene.gateway.ask(mallory.answer(second.eap), second.state)
    proof = alice.answer(first.eap)
    assert scene.gateway.ask(proof[:1] + second.eap[1:2] + proof[2:], second.state).code != radius.ACCEPT
    assert scene.installation.list_sessions() == []


def test_texts_of_a_gateway_are_bounded_and_recorded_as_text(scene: Scene) -> None:
    hostile = [(radius.USER_NAME, b"\x1b[31m" * 50), (radius.CALLING_STATION_ID, b"\0\xff\x1b]0;x\x07" * 30)]
    assert scene.new_gateway(attributes=hostile).log_in(scene.new_client()).code == radius.ACCEPT
    (attempt,) = scene.installation.list_attempts()
    assert len(attempt.client_address) <= 64
    assert "\0" not in attempt.client_address


def test_a_login_goes_on_while_its_gateway_floods_garbage_in_between(scene: Scene) -> None:
    client = scene.new_client()
    answer = scene.gateway.ask(client.answer_identity())
    while answer.code == radius.CHALLENGE:
        for _ in range(50):
            scene.receive(os.urandom(200))
            scene.receive(radius.sign(scene.secret, b"", authenticator=os.urandom(16)))
            state = radius.encode_attributes([(radius.STATE, os.urandom(16)), *radius.split_eap(b"\x02\0\0\x05\x0d")])
            scene.receive(radius.sign(scene.secret, state, authenticator=os.urandom(16)))
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert answer.code == radius.ACCEPT


def test_when_memory_is_short_there_is_silence_and_no_reject(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    request = scene.gateway.build_last_request(scene.new_client())

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(scene.server, "_advance", fail)
        assert scene.receive(scene.gateway.build(build_response(0, IDENTITY, b"x"))) is None
    assert scene.server.take_dropped() == {"no_memory": 1}
    verdict = scene.receive_verdict(request)
    with monkeypatch.context() as patch:
        patch.setattr(scene.recorder, "_record", fail)
        assert scene.commit(verdict) == []
    assert len(scene.commit(verdict)) == 1
