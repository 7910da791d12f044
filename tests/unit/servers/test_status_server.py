"""Status-Server (RFC 5997): answered on both ports, to gateways only, and only while we can serve."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import event

from evertunnel import clock
from evertunnel.protocols.radius.accounting import encode_accounting_response
from evertunnel.protocols.radius.packet import PacketError
from evertunnel.protocols.radius.status import decode_status_server
from evertunnel.servers.logins import Reply
from evertunnel.storage.store import Store
from tests.peers import accounting as accounting_peer
from tests.peers import radius
from tests.unit.servers.accounting import OURS, SECRETS, Accounts
from tests.unit.servers.conftest import Scene

STATUS_SERVER = 12
# RFC 5997 6.1 and 6.2.
RFC_SECRET = b"xyzzy5461"
RFC_QUERY = bytes.fromhex(
    "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3"
)  # fmt: skip
RFC_ACCOUNTING_QUERY = bytes.fromhex(
    "0cb30026925f6b66dd5fed571fcb1db7ad3882605012e8d6eabda910875cd91fdade26367858"
)  # fmt: skip
RFC_ACCOUNTING_ANSWER = bytes.fromhex("05b300140f6f92145f107e2f504e860a4860669c")


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Another writer holds the database, for longer than anybody waits."""
    event.listen(store.engine, "connect", lambda connection, _record: connection.execute("PRAGMA busy_timeout=1"))
    store.engine.dispose()
    with closing(sqlite3.connect(store.engine.url.database or "", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        yield


def build(secret: bytes, attributes: list[tuple[int, bytes]] | None = None) -> bytes:
    encoded = radius.encode_attributes(attributes or [])
    return radius.sign(secret, encoded, code=STATUS_SERVER, authenticator=os.urandom(16))


def test_the_examples_of_the_rfc() -> None:
    assert decode_status_server(RFC_QUERY, RFC_SECRET).identifier == 0xDA
    query = decode_status_server(RFC_ACCOUNTING_QUERY, RFC_SECRET)
    assert encode_accounting_response(query, RFC_SECRET) == RFC_ACCOUNTING_ANSWER
    with pytest.raises(PacketError):
        decode_status_server(RFC_QUERY, b"xyzzy5462")


def test_the_authentication_port_answers_with_a_signed_accept_that_lets_nobody_in(scene: Scene) -> None:
    query = build(scene.secret, [(radius.PROXY_STATE, b"hop"), (radius.STATE, b"x")])
    outcome = scene.receive(query)
    assert isinstance(outcome, Reply)
    answer = radius.read_reply(scene.secret, query, outcome.data)
    assert answer.code == radius.ACCEPT
    assert set(answer.keys()) == {radius.MESSAGE_AUTHENTICATOR, radius.PROXY_STATE}
    assert outcome.data[20] == radius.MESSAGE_AUTHENTICATOR
    assert scene.installation.list_attempts() == []
    assert scene.installation.list_sessions() == []


def test_the_accounting_port_answers_with_an_accounting_response(accounts: Accounts) -> None:
    query = build(SECRETS[OURS])
    answer = accounts.carry(query)
    assert answer is not None
    assert accounting_peer.read_answer(SECRETS[OURS], query, answer).id == query[1]
    assert accounts.list_records() == []


def without_signature(secret: bytes) -> bytes:
    return bytes((STATUS_SERVER, 1, 0, 20)) + os.urandom(16)


def with_a_wrong_one(secret: bytes) -> bytes:
    *right, last = build(secret)
    return bytes((*right, last ^ 1))


def with_two(secret: bytes) -> bytes:
    return build(secret, [(radius.MESSAGE_AUTHENTICATOR, bytes(16))])


def with_a_short_one(secret: bytes) -> bytes:
    return bytes((STATUS_SERVER, 1, 0, 37)) + os.urandom(16) + b"\x50\x11" + bytes(15)


def of_another_secret(secret: bytes) -> bytes:
    return build(secret + b"x")


@pytest.mark.parametrize("lie", [without_signature, with_a_wrong_one, with_two, with_a_short_one, of_another_secret])
def test_without_a_right_message_authenticator_neither_port_answers(
    scene: Scene, accounts: Accounts, lie: Callable[[bytes], bytes]
) -> None:
    assert scene.receive(lie(scene.secret)) is None
    assert accounts.carry(lie(SECRETS[OURS])) is None


def test_a_stranger_is_not_answered(scene: Scene, accounts: Accounts) -> None:
    assert scene.receive(build(scene.secret), ("192.0.2.99", 1)) is None
    assert accounts.carry(build(SECRETS[OURS]), "203.0.113.9") is None


def test_it_is_said_to_vouch_and_after_a_commit_that_failed_we_do_not(scene: Scene) -> None:
    outcome = scene.receive(build(scene.secret))
    assert isinstance(outcome, Reply)
    assert outcome.vouches
    assert scene.recorder.can_record(scene.uptime)
    verdict = scene.receive_verdict(scene.gateway.build_last_request(scene.new_client()))
    with locked(scene.installation.store):
        assert scene.recorder.commit([verdict], clock.now()) == []
        assert not scene.recorder.can_record(scene.uptime)
        assert scene.recorder.can_record(scene.uptime + 30), "gateways may try, or we would never know"
    assert len(scene.recorder.commit([verdict], clock.now())) == 1
    assert scene.recorder.can_record(scene.uptime)


def test_the_accounting_port_is_silent_after_a_commit_that_failed(accounts: Accounts) -> None:
    with locked(accounts.installation.store):
        assert accounts.carry(accounting_peer.build(SECRETS[OURS], accounting_peer.START)) is None
        assert accounts.carry(build(SECRETS[OURS])) is None
    accounts.uptime += 30
    assert accounts.carry(build(SECRETS[OURS])) is not None
