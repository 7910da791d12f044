"""The target that plays logins finds a server that is wrong: each of these mistakes was made here on purpose."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from evertunnel.protocols.eap.conversation import Accepted, Challenge
from evertunnel.protocols.eap.methods import mschapv2, peap
from evertunnel.protocols.eap.methods.peap import PEAP
from evertunnel.protocols.eap.methods.progress import Finished
from evertunnel.protocols.eap.packet import encode_success
from evertunnel.protocols.radius import packet
from evertunnel.servers.logins import Login
from evertunnel.servers.policy_server import PolicyServer
from tests.fuzz import clients
from tests.fuzz.targets.login import FORGE, GO, MANY_ROUNDS, World
from tests.peers import radius
from tests.peers.eap_tls import Client

WHOLE = bytes((GO, 0, 0, 0)) * 7


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    restore = partial(structlog.configure, **structlog.get_config())
    yield World(tmp_path)
    restore()


def test_a_good_server_lets_in_who_proved_a_key_and_nobody_else(world: World) -> None:
    before = _count_grants(world)
    for who, kind in enumerate(world.kinds):
        world.check(bytes((GO, who, 0, 0)) * MANY_ROUNDS)
        granted, before = _count_grants(world) - before, _count_grants(world)
        assert granted == kind.honest, kind.name


def _count_grants(world: World) -> int:
    return sum(row.outcome == "granted" for row in world.scene.installation.list_attempts())


@pytest.mark.parametrize("name", ["resuming", "resuming in TLS 1.2"])
def test_a_client_that_resumes_does(world: World, name: str) -> None:
    kind = next(each for each in world.kinds if each.name == name)
    client = kind.new()
    assert isinstance(client, Client)
    assert world.scene.gateway.log_in(client).code == radius.ACCEPT
    assert client.tls.session_reused


def test_an_accept_before_the_end_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = PolicyServer._decide

    def hasty(server: PolicyServer, exchange: Any, due: Any) -> Any:
        turn, conversation = decide(server, exchange, due), exchange.login.conversation
        if not isinstance(turn, Challenge):
            return turn
        finished = conversation._method._finished
        conversation.fail()
        return Accepted(encode_success(1), finished.peer, finished.master_session_key)

    monkeypatch.setattr(PolicyServer, "_decide", hasty)
    with pytest.raises(AssertionError):
        world.check(WHOLE)


def test_a_packet_nobody_signed_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet, "verify_signature", lambda *_: None)
    with pytest.raises(AssertionError, match="nobody signed"):
        world.check(WHOLE[:4] + bytes((FORGE, 0, 0, 4)))


def play(world: World, name: str) -> None:
    world.check(bytes((GO, [kind.name for kind in world.kinds].index(name), 0, 0)) * MANY_ROUNDS)


@pytest.mark.parametrize("name", ["wrong password", "wrong password in PEAP"])
def test_a_password_that_is_not_compared_is_found(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(mschapv2.hmac, "compare_digest", lambda *_: True)
    with pytest.raises(AssertionError, match="keys that nobody has"):
        play(world, name)


def test_a_binding_that_is_not_demanded_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = PEAP.accept
    monkeypatch.setattr(PEAP, "accept", lambda method, **_: accept(method, binding_required=False))
    # The decision looks at it once more.
    monkeypatch.setattr(peap, "Finished", lambda peer, key, bound: Finished(peer, key, bound or True))
    with pytest.raises(AssertionError, match="keys that nobody has"):
        play(world, "password in PEAP, not bound")


@pytest.mark.parametrize("name", ["resuming, revoked since", "resuming, denied since"])
def test_a_session_that_outlives_its_right_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str
) -> None:
    """As a server would be that did not hear of the revocation, or of the denial."""
    request.addfinalizer(partial(structlog.configure, **structlog.get_config()))
    monkeypatch.setattr(clients, "_revoke", lambda *_: None)
    monkeypatch.setattr(clients, "deny", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="keys that nobody has"):
        play(World(tmp_path), name)


@pytest.mark.parametrize("kind", ["the gateway's secret", "the session's keys"])
def test_a_secret_in_a_record_is_found(world: World, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    note = Login.note

    def tell(login: Login, text: str, uptime: float) -> None:
        method = login.conversation._method
        finished = method._finished if method is not None else None
        secret = login.secret.decode() if kind == "the gateway's secret" else ""
        if not secret and finished is not None:
            secret = finished.master_session_key.hex()
        note(login, f"{text} {secret}", uptime)

    monkeypatch.setattr(Login, "note", tell)
    monkeypatch.setattr(PolicyServer, "_challenge", _note_first(PolicyServer._challenge))
    with pytest.raises(AssertionError, match="a secret was told"):
        world.check(WHOLE)


def _note_first(challenge: Any) -> Any:
    def noting(server: PolicyServer, exchange: Any, turn: Challenge) -> Any:
        exchange.login.note("a question", exchange.uptime)
        return challenge(server, exchange, turn)

    return noting
