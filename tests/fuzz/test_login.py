"""The target that plays logins finds a server that is wrong: each of these mistakes was made here on purpose."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from evertunnel.protocols.eap.conversation import Accepted, Challenge
from evertunnel.protocols.eap.packet import encode_success
from evertunnel.protocols.radius import packet
from evertunnel.servers.logins import Login
from evertunnel.servers.policy_server import PolicyServer
from tests.fuzz.targets.login import FORGE, GO, World

WHOLE = bytes((GO, 0, 0, 0)) * 7


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    restore = partial(structlog.configure, **structlog.get_config())
    yield World(tmp_path)
    restore()


def test_a_good_server_lets_in_who_proved_a_key_and_nobody_else(world: World) -> None:
    for who in range(7):
        world.check(bytes((GO, who, 0, 0)) * 20)
    assert sum(row.outcome == "granted" for row in world.scene.installation.list_attempts()) == 3


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
