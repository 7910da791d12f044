"""Replies that end a login, read by pyrad."""

from dataclasses import replace

import pytest
from pyrad.packet import AuthPacket

from evertunnel.protocols.eap.conversation import Accepted
from evertunnel.servers.logins import Reply, Verdict
from evertunnel.servers.replies import build_accept, build_reject
from tests.peers import radius
from tests.unit.servers.conftest import SOURCE, Scene


@pytest.fixture
def request_bytes(scene: Scene) -> bytes:
    return scene.gateway.build_last_request(scene.new_client())


@pytest.fixture
def verdict(scene: Scene, request_bytes: bytes) -> Verdict:
    """A login that finished and waits for its decision."""
    return scene.receive_verdict(request_bytes)


def read(scene: Scene, request_bytes: bytes, reply: Reply | None) -> AuthPacket:
    assert reply is not None
    assert reply.destination == SOURCE
    return radius.read_reply(scene.secret, request_bytes, reply.data)


def accept(verdict: Verdict, **settings: object) -> Reply:
    return build_accept(verdict, session_id="0123456789abcdef", user_name="alice@corp.example", settings=settings)


def test_an_accept_has_success_keys_session_and_owner(scene: Scene, request_bytes: bytes, verdict: Verdict) -> None:
    reply = accept(verdict)
    packet = read(scene, request_bytes, reply)
    assert isinstance(verdict.accepted, Accepted)
    assert packet.code == radius.ACCEPT
    assert radius.join_eap(packet) == verdict.accepted.eap_message
    assert radius.read_session_keys(packet) == verdict.accepted.master_session_key
    assert packet[radius.CLASS] == [b"0123456789abcdef"]
    assert packet[radius.USER_NAME] == [b"alice@corp.example"]
    assert reply.verdict is verdict, "so that it is decided again before it is repeated"


def test_only_the_settings_of_a_policy_limit_the_session(scene: Scene, request_bytes: bytes, verdict: Verdict) -> None:
    assert radius.SESSION_TIMEOUT not in read(scene, request_bytes, accept(verdict))
    limited = read(scene, request_bytes, accept(verdict, session_timeout_seconds=2**31 - 1))
    assert limited[radius.SESSION_TIMEOUT] == [b"\x7f\xff\xff\xff"]


def test_the_salts_of_an_accept_are_different_every_time(scene: Scene, request_bytes: bytes, verdict: Verdict) -> None:
    salts = set()
    for _ in range(50):
        packet = read(scene, request_bytes, accept(verdict))
        both = [packet[(311, number)][0][:2] for number in (16, 17)]
        assert both[0] != both[1]
        assert all(salt[0] & 0x80 for salt in both)
        salts.update(both)
    assert len(salts) > 90


def test_a_reject_has_the_failure_and_nothing_that_tells_an_outsider_why(
    scene: Scene, request_bytes: bytes, verdict: Verdict
) -> None:
    packet = read(scene, request_bytes, build_reject(verdict))
    assert packet.code == radius.REJECT
    assert radius.join_eap(packet)[0] == 4
    assert set(packet.keys()) == {radius.MESSAGE_AUTHENTICATOR, radius.EAP_MESSAGE}


def test_a_reject_is_repeated_without_being_decided_again(verdict: Verdict) -> None:
    reply = build_reject(verdict)
    assert reply is not None
    assert reply.verdict is None


def test_nobody_is_answered_who_stopped_talking(verdict: Verdict) -> None:
    assert build_reject(replace(verdict, exchange=None)) is None
