"""The rules of EAP and EAP-TLS as a gateway sees them, one test a rule (RFC 3579, 3748, 5216, 9190)."""

import json
import struct
from ssl import TLSVersion

import pytest

from evertunnel.model import Outcome, Reason
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, LENGTH, MORE, NAK, START, TLS, TLS_12, TLS_13, build_response
from tests.peers.gateway import Answer
from tests.unit.servers.conftest import Scene

VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])


def start_tls(scene: Scene, identity: bytes = b"alice@corp.example") -> Answer:
    """Say the identity; the answer starts EAP-TLS."""
    answer = scene.gateway.ask(build_response(5, IDENTITY, identity))
    assert scene.gateway.lines[-1] == "server: Access-Challenge, TLS start"
    return answer


def respond(answer: Answer, eap_type: int, data: bytes = b"") -> bytes:
    return build_response(answer.eap[1], eap_type, data)


def assert_ended(scene: Scene, answer: Answer, eap: bytes, reason: Reason, detail: str) -> None:
    """The message gets Reject with a failure that fits it, its State is used up, and the reason is recorded."""
    reject = scene.gateway.ask(eap, answer.state)
    assert reject.code == radius.REJECT
    identifier = eap[1] if len(eap) > 1 else answer.eap[1]
    assert reject.eap in (bytes((4, identifier, 0, 4)), bytes((4, 5, 0, 4)))
    assert scene.gateway.send(scene.gateway.build(eap, answer.state)) is None
    attempt = scene.installation.list_attempts()[-1]
    assert (attempt.outcome, attempt.reason) == (Outcome.REFUSED, reason)
    assert detail in attempt.detail
    assert scene.installation.list_sessions() == []


@pytest.mark.parametrize("message", [b"", b"\0", b"\x02\0"])
def test_eap_start_is_answered_with_identity(scene: Scene, message: bytes) -> None:
    answer = scene.gateway.ask(message)
    assert answer.code == radius.CHALLENGE
    assert answer.eap == bytes.fromhex("0100000501")
    assert scene.gateway.ask(respond(answer, IDENTITY, b"alice@corp.example"), answer.state).code == radius.CHALLENGE


def test_an_eap_start_inside_a_conversation_ends_it(scene: Scene) -> None:
    answer = start_tls(scene)
    assert_ended(scene, answer, b"", Reason.TLS_FAILED, "shorter than an EAP response")


def test_a_request_that_has_a_state_but_no_eap_ends_it(scene: Scene) -> None:
    answer = start_tls(scene)
    assert answer.state is not None
    reject = scene.gateway.send(radius.build_request(scene.secret, [(radius.STATE, answer.state)]))
    assert reject is not None
    assert (reject.code, reject.eap) == (radius.REJECT, b"")


@pytest.mark.parametrize("difference", [1, -1, 100])
def test_the_eap_identifier_must_match_the_outstanding_request(scene: Scene, difference: int) -> None:
    answer = start_tls(scene)
    eap = build_response((answer.eap[1] + difference) % 256, TLS, b"\0")
    assert_ended(scene, answer, eap, Reason.TLS_FAILED, "does not answer request")


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5, 255])
def test_request_success_or_failure_from_a_peer_ends_it(scene: Scene, code: int) -> None:
    answer = start_tls(scene)
    eap = bytes((code,)) + respond(answer, TLS, b"\0")[1:]
    assert_ended(scene, answer, eap, Reason.TLS_FAILED, f"EAP code {code} may not come from a peer")


@pytest.mark.parametrize("length", [0, 4, 5, 7, 65_535])
def test_an_eap_length_that_lies_ends_it(scene: Scene, length: int) -> None:
    answer = start_tls(scene)
    eap = respond(answer, TLS, b"\0")
    assert_ended(scene, answer, eap[:2] + struct.pack("!H", length) + eap[4:], Reason.TLS_FAILED, "differs from")


@pytest.mark.parametrize("eap_type", [NAK, 4, TLS, 25, 26, 254, 255])
def test_a_conversation_begins_with_an_identity(scene: Scene, eap_type: int) -> None:
    reject = scene.gateway.ask(build_response(5, eap_type, b"\0"))
    assert (reject.code, reject.eap) == (radius.REJECT, bytes((4, 5, 0, 4)))
    (attempt,) = scene.installation.list_attempts()
    assert attempt.reason == Reason.TLS_FAILED


@pytest.mark.parametrize("wanted", [b"\x1a", b"\x19\x1a", b"\0", b"", bytes(range(250))])
def test_a_nak_is_told_as_such(scene: Scene, wanted: bytes) -> None:
    answer = start_tls(scene)
    assert_ended(scene, answer, respond(answer, NAK, wanted), Reason.METHOD_REFUSED, "the client wants EAP type")
    assert len(scene.installation.list_attempts()[-1].detail) < 120


@pytest.mark.parametrize("eap_type", [IDENTITY, 4, 25, 26, 254])
def test_a_method_is_not_switched_in_mid_conversation(scene: Scene, eap_type: int) -> None:
    answer = start_tls(scene)
    eap = respond(answer, eap_type, b"\x03")
    assert_ended(scene, answer, eap, Reason.TLS_FAILED, f"EAP type {eap_type} in a conversation of type 13")


def test_no_accept_for_an_mschapv2_success_at_once(scene: Scene) -> None:
    # Opcode 3 claims that a login succeeded which never took place.
    answer = start_tls(scene)
    assert_ended(scene, answer, respond(answer, 26, b"\x03"), Reason.TLS_FAILED, "EAP type 26")


def test_no_accept_for_a_peap_result_before_a_login(scene: Scene) -> None:
    answer = start_tls(scene)
    result = bytes.fromhex("80030002" + "0001")
    assert_ended(scene, answer, respond(answer, 25, result), Reason.TLS_FAILED, "EAP type 25")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "without flags"),
        (bytes((START,)), "start flag"),
        (struct.pack("!BI", LENGTH | MORE, 65_537) + b"x", "too long"),
        (struct.pack("!BI", LENGTH | MORE, 2**32 - 1) + b"x", "too long"),
        (struct.pack("!BI", LENGTH, 2) + b"x", "shorter than promised"),
        (struct.pack("!BI", LENGTH | MORE, 1) + b"xx", "longer than promised"),
        (struct.pack("!BI", LENGTH | MORE, 2)[:4], "cut off"),
        (bytes((MORE,)), "promises more"),
        (b"\0", "not a ClientHello"),
    ],
)
def test_the_declared_total_is_a_promise_and_bounded(scene: Scene, data: bytes, why: str) -> None:
    answer = start_tls(scene)
    assert_ended(scene, answer, respond(answer, TLS, data), Reason.TLS_FAILED, why)


def test_fragments_without_a_total_are_bounded_too(scene: Scene) -> None:
    answer = start_tls(scene)
    fragment = bytes((MORE,)) + b"\x16" + bytes(3_899)
    for _ in range(16):
        answer = scene.gateway.ask(respond(answer, TLS, fragment), answer.state)
        assert scene.gateway.lines[-1] == "server: Access-Challenge, TLS empty"
    assert_ended(scene, answer, respond(answer, TLS, fragment), Reason.TLS_FAILED, "longer than promised")


def test_only_what_was_asked_for_is_acknowledged(scene: Scene) -> None:
    scene.gateway.attributes = [(radius.FRAMED_MTU, (150).to_bytes(4, "big"))]
    client = scene.new_client()
    answer = start_tls(scene)
    answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert scene.gateway.lines[-1] == "server: Access-Challenge, TLS fragment"
    eap = respond(answer, TLS, bytes((MORE,)) + b"\x16")
    assert_ended(scene, answer, eap, Reason.TLS_FAILED, "before all fragments of ours were acknowledged")


def test_round_trips_are_bounded(scene: Scene) -> None:
    answer = scene.gateway.log_in(scene.new_client(fragment_bytes=1))
    assert answer.code == radius.REJECT
    assert len(scene.gateway.answers) == 101
    (attempt,) = scene.installation.list_attempts()
    assert attempt.reason == Reason.TOO_MANY_ROUNDS
    assert len(attempt.story) < 10_000


@VERSIONS
def test_no_accept_before_the_method_is_finished(scene: Scene, version: TLSVersion) -> None:
    # At each point of a good login an empty answer is given instead of the next message.
    rounds = 0
    while True:
        client = scene.new_client(version=version, fragment_bytes=4_000)
        answer = scene.gateway.log_in(client, rounds=rounds)
        if answer.code == radius.ACCEPT:
            break
        early = scene.gateway.ask(respond(answer, TLS, b"\0"), answer.state)
        client.answer(answer.eap)
        assert (early.code == radius.ACCEPT) is client.done, "only our very last message may be answered by nothing"
        rounds += 1
    assert rounds == (3 if version == TLS_12 else 4)


def test_tls_13_says_its_octet_only_after_every_check_has_passed(scene: Scene) -> None:
    refused = scene.new_client(version=TLS_13, identity="mallory@corp.example")
    assert scene.gateway.log_in(refused).code == radius.REJECT
    assert refused.handshake_done
    assert not refused.committed
    accepted = scene.new_client(version=TLS_13)
    scene.gateway.build_last_request(accepted)
    assert accepted.committed
    assert scene.gateway.lines[-1] == "server: Access-Challenge, TLS encrypted"


@VERSIONS
def test_success_comes_only_after_the_peers_empty_answer(scene: Scene, version: TLSVersion) -> None:
    client = scene.new_client(version=version)
    last = scene.gateway.build_last_request(client)
    assert all(answer.code == radius.CHALLENGE for answer in scene.gateway.answers)
    assert scene.installation.list_attempts() == []
    assert scene.gateway.send(last) is not None
    assert scene.gateway.answers[-1].words == "Access-Accept, Success"


@VERSIONS
def test_a_failure_is_an_alert_then_the_peers_answer_then_the_failure(scene: Scene, version: TLSVersion) -> None:
    client = scene.new_client(version=version, pem=None)
    scene.gateway.log_in(client)
    *_, alert, peer, end = scene.gateway.lines
    assert alert == f"server: Access-Challenge, TLS {'alert 40' if version == TLS_12 else 'encrypted'}"
    assert peer == "gateway: Access-Request, TLS empty"
    assert end == "server: Access-Reject, Failure"
    assert client.alert


@VERSIONS
def test_a_tls_session_is_never_resumed(scene: Scene, version: TLSVersion) -> None:
    first = scene.new_client(version=version)
    assert scene.gateway.log_in(first).code == radius.ACCEPT
    second = scene.new_client(context=first.context, resume=first.tls.session)
    assert scene.gateway.log_in(second).code == radius.ACCEPT
    assert second.tls.session_reused is False
    assert all(json.loads(attempt.story)["login"]["proven"] for attempt in scene.installation.list_attempts())
