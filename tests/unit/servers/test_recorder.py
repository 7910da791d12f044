"""The recorder: replies only after their commit, silence when there can be none, and one bad login harms no other."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, update
from structlog.testing import capture_logs

from evertunnel import clock
from evertunnel.actions.allow import allow
from evertunnel.actions.change_gateway import GatewayChange, change_gateway
from evertunnel.actions.deny import deny
from evertunnel.errors import UnavailableError
from evertunnel.model import Outcome, Reason, SessionState, SubjectKind
from evertunnel.protocols.radius.packet import AccessRequest, decode_access_request
from evertunnel.servers.logins import Verdict
from evertunnel.storage import tables
from evertunnel.storage.snapshot import GATEWAY
from evertunnel.storage.verify_chain import verify_chain
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, build_response
from tests.peers.gateway import Gateway
from tests.unit.servers.conftest import Scene

ALICE = "alice@corp.example"


@contextmanager
def locked(scene: Scene) -> Iterator[None]:
    """Another writer holds the database, as a backup gone wrong would."""
    blocker = sqlite3.connect(scene.installation.database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with capture_logs() as logs:
            yield
        assert {log["event"] for log in logs} == {"cannot record"}
    finally:
        blocker.close()


def give_up_quickly(scene: Scene) -> None:
    """Waiting for a lock takes fifteen seconds; for a test a moment is enough."""
    engine = scene.installation.store.engine
    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA busy_timeout=1"))
    engine.dispose()


def deny_alice(scene: Scene) -> None:
    deny(scene.installation.store, SubjectKind.USER, ALICE, reason="left", actor="t", now=clock.now())


def prepare(scene: Scene) -> tuple[bytes, Verdict]:
    """The last packet of a login and its verdict, a yes so far."""
    request = scene.gateway.build_last_request(scene.new_client())
    return request, scene.receive_verdict(request)


def test_when_the_reply_may_leave_its_commit_can_be_read_by_others(scene: Scene) -> None:
    _, verdict = prepare(scene)
    assert scene.installation.list_attempts() == []
    (reply,) = scene.commit(verdict)
    assert reply[0] == radius.ACCEPT
    with sqlite3.connect(scene.installation.database) as other:
        assert other.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
    other.close()


def test_when_the_database_fails_there_is_silence_and_the_retransmission_succeeds_afterwards(scene: Scene) -> None:
    give_up_quickly(scene)
    request, verdict = prepare(scene)
    with locked(scene):
        assert scene.commit(verdict) == []
        assert scene.carry(request) is None
        assert scene.carry(request) is None
    assert scene.installation.list_attempts() == []
    accept = scene.carry(request)
    assert accept is not None
    assert accept[0] == radius.ACCEPT
    assert scene.carry(request) == accept
    assert len(scene.installation.list_attempts()) == len(scene.installation.list_sessions()) == 1


def test_a_refusal_is_silent_too_until_it_can_be_recorded(scene: Scene) -> None:
    give_up_quickly(scene)
    request = scene.gateway.build(b"\x02\x05\x00\x05\x04")
    with locked(scene):
        assert scene.carry(request) is None
    reject = scene.carry(request)
    assert reject is not None
    assert reject[0] == radius.REJECT
    assert scene.carry(request) == reject
    assert len(scene.installation.list_attempts()) == 1


def test_a_login_is_recorded_once_however_often_its_packet_waits_in_a_batch(scene: Scene) -> None:
    give_up_quickly(scene)
    request, verdict = prepare(scene)
    assert scene.receive(request) is None
    with locked(scene):
        assert scene.commit(verdict) == []
    repeated = scene.receive_verdict(request)
    assert scene.receive(request) is None, "the first repetition is being worked on"
    assert len(scene.commit(repeated)) == 1
    assert len(scene.installation.list_attempts()) == len(scene.installation.list_sessions()) == 1


def test_a_repeated_accept_that_met_a_failure_is_still_the_same_login(scene: Scene) -> None:
    give_up_quickly(scene)
    request, verdict = prepare(scene)
    (accept,) = scene.commit(verdict)
    with locked(scene):
        assert scene.carry(request) is None
    assert scene.carry(request) == accept
    assert len(scene.installation.list_attempts()) == len(scene.installation.list_sessions()) == 1


def test_what_is_committed_is_answered_although_memory_ends_just_then(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_request: AccessRequest) -> AccessRequest:
        raise MemoryError

    monkeypatch.setattr(AccessRequest, "without_details", fail)
    request, verdict = prepare(scene)
    (accept,) = scene.commit(verdict)
    assert scene.carry(request) == accept


def test_a_repeated_accept_that_is_refused_tells_the_whole_story(scene: Scene) -> None:
    request, verdict = prepare(scene)
    scene.commit(verdict)
    deny_alice(scene)
    scene.uptime += 3
    assert scene.carry(request) is not None
    (refused,) = [attempt for attempt in scene.installation.list_attempts() if attempt.outcome == Outcome.REFUSED]
    assert refused.duration_microseconds >= 3_000_000
    assert json.loads(refused.story)["login"]["proven"]
    assert "the gateway asked again for the Accept" in refused.story


def test_what_was_decided_before_a_failure_does_not_count_after_it(scene: Scene) -> None:
    give_up_quickly(scene)
    request, verdict = prepare(scene)
    with locked(scene):
        scene.commit(verdict)
    deny_alice(scene)
    reject = scene.carry(request)
    assert reject is not None
    assert reject[0] == radius.REJECT


def test_the_decision_that_counts_is_made_in_the_transaction_that_records_it(scene: Scene) -> None:
    _, verdict = prepare(scene)
    deny_alice(scene)
    (reply,) = scene.commit(verdict)
    assert reply[0] == radius.REJECT
    (attempt,) = scene.installation.list_attempts()
    assert attempt.reason == Reason.USER_DENIED
    assert scene.installation.list_sessions() == []


def test_a_replayed_accept_after_a_denial_becomes_a_reject_with_its_own_recorded_attempt(scene: Scene) -> None:
    request = scene.gateway.build_last_request(scene.new_client())
    accept, again = scene.carry(request), scene.carry(request)
    assert accept == again
    assert accept is not None
    assert accept[0] == radius.ACCEPT
    deny_alice(scene)
    rejects = [scene.carry(request) for _ in range(3)]
    assert rejects[0] is not None
    assert rejects[0][0] == radius.REJECT
    assert len(set(rejects)) == 1, "the same packet again gets the same bytes"
    attempts = scene.installation.list_attempts()
    assert [(attempt.outcome, attempt.reason) for attempt in attempts] == [
        (Outcome.GRANTED, Reason.GRANTED),
        (Outcome.REFUSED, Reason.USER_DENIED),
    ]
    (session,) = scene.installation.list_sessions()
    assert session.state == SessionState.ENDING


def test_a_reject_stays_a_reject_although_the_denial_was_lifted(scene: Scene) -> None:
    request = scene.gateway.build_last_request(scene.new_client())
    deny_alice(scene)
    reject = scene.carry(request)
    allow(scene.installation.store, SubjectKind.USER, ALICE, actor="t", now=clock.now())
    scene.follow()
    assert scene.carry(request) == reject
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_verdicts_that_wait_share_a_commit_and_each_is_decided(scene: Scene) -> None:
    verdicts = [prepare(scene)[1] for _ in range(100)]
    assert {reply[0] for reply in scene.commit(*verdicts)} == {radius.ACCEPT}
    attempts = scene.installation.list_attempts()
    assert [attempt.outcome for attempt in attempts] == [Outcome.GRANTED] * 100
    assert len({attempt.batch for attempt in attempts}) == 1
    assert len({session.id for session in scene.installation.list_sessions()}) == 100
    with scene.installation.store.read() as connection:
        assert verify_chain(connection).problems == []


def build_proxy_states(octets: int) -> list[tuple[int, bytes]]:
    """Proxy-State attributes of so many octets in all."""
    sizes = [255] * (octets // 255) + [octets % 255]
    return [(radius.PROXY_STATE, bytes(size - 2)) for size in sizes]


def test_a_login_whose_accept_cannot_be_built_is_refused_and_the_others_of_its_batch_are_not(scene: Scene) -> None:
    requests = [scene.gateway.build_last_request(scene.new_client()) for _ in range(3)]
    # Room for a Reject is left, and none for an Accept with its keys.
    requests[1] = add_proxy_state(scene, requests[1], 3_900)
    verdicts = [scene.receive_verdict(request) for request in requests]
    with capture_logs() as logs:
        replies = scene.commit(*verdicts)
    assert [reply[0] for reply in replies] == [radius.ACCEPT, radius.REJECT, radius.ACCEPT]
    attempts = scene.installation.list_attempts()
    assert [attempt.reason for attempt in attempts] == [Reason.GRANTED, Reason.INTERNAL_ERROR, Reason.GRANTED]
    assert attempts[1].detail == "an error of ours: ValueError"
    assert len(scene.installation.list_sessions()) == 2, "what was rolled back is not there"
    assert [scene.carry(request) for request in requests] == replies
    assert [log["event"] for log in logs] == ["cannot record", "cannot record"], "the batch, then the one"


def add_proxy_state(scene: Scene, request: bytes, octets: int) -> bytes:
    """The same request as it comes through proxies that say much."""
    read = decode_access_request(request, scene.secret)
    attributes = [*read.attributes, *radius.split_eap(read.eap_message), *build_proxy_states(octets)]
    return radius.sign(scene.secret, radius.encode_attributes(attributes))


def test_a_login_that_cannot_even_be_refused_gets_silence_and_the_server_still_serves(scene: Scene) -> None:
    start = [(radius.EAP_MESSAGE, b""), *build_proxy_states(4_056)]
    request = radius.sign(scene.secret, radius.encode_attributes(start))
    assert len(request) == 4_096, "a Reject is four octets longer than an EAP-Start"
    with capture_logs() as logs:
        assert scene.carry(request) is None
    assert [log["event"] for log in logs] == ["login failed", "cannot record"]
    assert scene.receive(request) is None
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_an_error_while_a_packet_is_worked_on_is_a_reject_and_recorded(scene: Scene) -> None:
    # With so much Proxy-State there is room for a Reject and none for the challenge that is due.
    request = scene.new_gateway(attributes=build_proxy_states(4_040)).build(b"")
    with capture_logs() as logs:
        reject = scene.gateway.send(request)
    assert [log["event"] for log in logs] == ["login failed"]
    assert reject is not None
    assert reject.words == "Access-Reject, Failure"
    (attempt,) = scene.installation.list_attempts()
    assert (attempt.reason, attempt.detail) == (Reason.INTERNAL_ERROR, "an error of ours: ValueError")
    assert scene.carry(request) == reject.data
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_changes_are_followed_between_logins(scene: Scene) -> None:
    secret = scene.installation.add_gateway("gw2", "127.0.0.2")
    other = scene.new_gateway()
    other.secret, other.road = secret, lambda data: scene.carry(data, ("127.0.0.2", 40_000))
    assert other.send(other.build(b"")) is None
    assert scene.recorder.follow()
    assert other.log_in(scene.new_client()).code == radius.ACCEPT


def test_changes_are_followed_by_recording_too(scene: Scene) -> None:
    _, verdict = prepare(scene)
    secret = scene.installation.add_gateway("gw2", "127.0.0.2")
    scene.commit(verdict)
    assert scene.receive(radius.build_request(secret, radius.split_eap(b"")), ("127.0.0.2", 40_000)) is not None


def test_a_change_that_could_not_be_read_is_read_the_next_time(scene: Scene) -> None:
    scene.installation.add_user("bob@corp.example")
    bob = scene.installation.issue(user="bob@corp.example")
    with capture_logs() as logs:
        with fail_to_connect(scene):
            assert not scene.recorder.follow()
        assert scene.recorder.follow()
    assert [log["event"] for log in logs] == ["cannot read the database"]
    client = scene.new_client(bob, identity="bob@corp.example")
    assert scene.gateway.log_in(client).code == radius.ACCEPT


@contextmanager
def fail_to_connect(scene: Scene) -> Iterator[None]:
    """No new connection can be made: the file was moved away."""
    engine = scene.installation.store.engine
    engine.dispose()
    hidden = scene.installation.database.with_suffix(".hidden")
    scene.installation.database.parent.rename(hidden.parent.with_suffix(".hidden"))
    yield
    hidden.parent.with_suffix(".hidden").rename(scene.installation.database.parent)


def test_a_gateway_whose_secret_does_not_open_is_left_out_and_the_others_are_served(scene: Scene) -> None:
    scene.installation.add_gateway("gw2", "127.0.0.2")
    with scene.installation.store.write(clock.now()) as tx:
        sealed = tables.gateways.c.radius_secret_sealed
        tx.connection.execute(
            update(tables.gateways).values({sealed: b"?" * 40}).where(tables.gateways.c.name == "gw2")
        )
        tx.raise_epoch(GATEWAY, "gw2")
    with capture_logs() as logs:
        assert scene.recorder.follow()
    assert [(log["event"], log["gateway"]) for log in logs] == [("gateway left out", "gw2")]
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT
    assert scene.receive(scene.gateway.build(b""), ("127.0.0.2", 40_000)) is None
    assert scene.server.take_dropped() == {"unknown_gateway": 1}


def refuse_stranger(scene: Scene) -> None:
    """Somebody without any certificate, refused at once."""
    assert scene.gateway.ask(build_response(0, IDENTITY, b"x")[:4] + b"\x01").code == radius.REJECT


def test_refusals_of_strangers_are_recorded_so_many_a_second_and_the_rest_counted(scene: Scene) -> None:
    for _ in range(100):
        refuse_stranger(scene)
    assert len(scene.installation.list_attempts()) == 20
    assert scene.recorder.take_unrecorded() == {"gw1": 80}
    assert scene.recorder.take_unrecorded() == {}
    scene.uptime += 0.5
    for _ in range(100):
        refuse_stranger(scene)
    assert len(scene.installation.list_attempts()) == 30


def test_who_proved_a_certificate_of_ours_is_always_recorded(scene: Scene) -> None:
    scene.installation.add_policy("Nobody", "deny", position=1)
    scene.follow()
    for _ in range(30):
        refuse_stranger(scene)
    for _ in range(25):
        assert scene.gateway.log_in(scene.new_client()).code == radius.REJECT
    reasons = [row.reason for row in scene.installation.list_attempts()]
    assert reasons.count("network_policy_denies") == 25


def test_a_denied_users_attempts_are_not_hidden_by_strangers_and_bounded_for_themselves(scene: Scene) -> None:
    """A certificate on hold ends the handshake before its key was proven: it may be a copy."""
    deny_alice(scene)
    scene.follow()
    for _ in range(30):
        refuse_stranger(scene)
    for _ in range(25):
        assert scene.gateway.log_in(scene.new_client()).code == radius.REJECT
    reasons = [row.reason for row in scene.installation.list_attempts()]
    assert reasons.count("user_denied") == 20


def test_a_flood_through_one_gateway_hides_nothing_of_another(scene: Scene) -> None:
    secret = scene.installation.add_gateway("gw2", "127.0.0.2")
    scene.follow()
    for _ in range(30):
        refuse_stranger(scene)
    other = Gateway(secret, lambda data: scene.carry(data, ("127.0.0.2", 40_000)))
    assert other.log_in(scene.new_client(pem=None)).code == radius.REJECT
    assert [row.gateway_name for row in scene.installation.list_attempts()].count("gw2") == 1


def test_a_gateways_new_secret_counts_although_the_commit_that_saw_it_failed(scene: Scene) -> None:
    give_up_quickly(scene)
    _, verdict = prepare(scene)
    told = []
    scene.recorder._on_gateways_changed = lambda: told.append("told")
    change = GatewayChange(enabled=False)
    change_gateway(scene.installation.store, "gw1", change, seal=lambda *_: b"", actor="t", now=clock.now())

    def fail(*_: object) -> None:
        raise UnavailableError("the disk is full")

    scene.recorder._record, kept = fail, scene.recorder._record  # type: ignore[assignment, method-assign]
    with capture_logs():
        assert scene.commit(verdict) == []
    scene.recorder._record = kept  # type: ignore[method-assign]
    scene.follow()
    assert told == ["told"]
