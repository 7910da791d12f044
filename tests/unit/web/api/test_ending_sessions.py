"""Sessions are ended over the API: by administrators alone, one, or all of somebody, and how far that is is told."""

from typing import Any

import pytest

from evertunnel.actions.deny import deny
from evertunnel.actions.end_session import ENDED_HERE
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.model import GatewayState, SubjectKind
from evertunnel.storage import effect_queue, gateways, sessions
from tests.installation import ALICE, Installation
from tests.unit.web.api.clients import build_client
from tests.unit.web.api.test_sessions import ask, open_session


def post(installation: Installation, body: Any) -> tuple[int, Any]:
    with build_client(installation) as client:
        answer = client.post("/v1/sessions/end", json=body)
    return answer.status_code, answer.json()


def find_state(installation: Installation) -> str:
    with installation.store.read() as connection:
        row = sessions.find_session(connection, "s1")
    assert row is not None
    return str(row.state)


@pytest.mark.parametrize("user_id", [None, 0, 65_534], ids=["nobody knows who", "root who is none", "nobody"])
def test_whoever_is_no_administrator_ends_nothing(installation: Installation, user_id: int | None) -> None:
    open_session(installation)
    with build_client(installation, user_id) as client:
        assert client.post("/v1/sessions/end", json={"session": "s1"}).status_code == 403
        assert client.get("/v1/sessions/end", params={"effect": "e1"}).status_code == 403
    assert find_state(installation) == "up"


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 422, "name one session, one user or one device"),
        ({"session": None}, 422, "name one session"),
        ({"session": "s1", "user": ALICE}, 422, "and not more than that"),
        ({"session": "s1", "reason": "because"}, 422, "reason"),
        ({"session": ["s1"]}, 422, "session"),
        ({"session": "x" * 65}, 422, "session"),
        ({"group": "staff"}, 422, "group"),
        ("s1", 422, ""),
        ({"session": "s2"}, 404, "there is no session 's2'"),
        ({"user": "nobody@corp.example"}, 404, "nobody@corp.example"),
        ({"device": ALICE}, 404, ALICE),
    ],
    ids=str,
)
def test_what_cannot_be_ended_is_said_in_one_line(
    installation: Installation, body: Any, status: int, told: str
) -> None:
    open_session(installation)
    code, answer = post(installation, body)
    assert (code, told in answer["title"], "\n" in answer["title"]) == (status, True, False), answer
    assert find_state(installation) == "up"


def test_one_that_is_over_or_ending_is_a_conflict(installation: Installation) -> None:
    open_session(installation)
    assert post(installation, {"session": "s1"})[0] == 202
    assert post(installation, {"session": "s1"})[0] == 409
    with installation.store.write(installation.now) as tx:
        sessions.end_session(tx, "s1", "over")
    assert post(installation, {"session": "s1"})[0] == 409
    assert post(installation, {"user": ALICE})[0] == 404


@pytest.mark.parametrize("body", [{"session": "s1"}, {"user": ALICE}], ids=str)
def test_how_far_it_is_confirmed_is_told_until_it_is(installation: Installation, body: dict[str, str]) -> None:
    gateway = open_session(installation)
    status, ended = post(installation, body)
    (cut,) = ended["sessions"]
    assert (status, ended["reason"], ended["ending_already"]) == (202, ENDED_HERE, 0)
    assert (cut["session"], cut["kind"], cut["user"], cut["device"]) == ("s1", "user", ALICE, None)
    assert (cut["gateway"], cut["state"], cut["milliseconds"]) == ("gw1", "pending", None)
    with installation.store.write(installation.now) as tx:
        gateways.set_state(tx, gateway.id, GatewayState.AWAY, "it is away")
    assert [each["last_error"] for each in ask(installation, "/end", effect=cut["effect"])] == ["it is away"]
    with installation.store.write(installation.clock.forward(seconds=2)) as tx:
        effect_queue.confirm_effects(tx, [cut["effect"]])
    (seen,) = ask(installation, "/end", effect=[cut["effect"], "unknown"])
    assert (seen["effect"], seen["state"], seen["milliseconds"]) == (cut["effect"], "confirmed", 2000.0)
    assert ask(installation, "")[0]["end"] == ENDED_HERE


def test_what_is_no_cut_of_a_session_is_not_told_as_one(installation: Installation) -> None:
    gateway = open_session(installation)
    installation.do(deny, SubjectKind.USER, ALICE, reason="left")
    with installation.store.write(installation.now) as tx:
        effect_queue.queue_effect(tx, EffectKind.FLUSH, [gateway.id], EffectSubject.SESSION, "s1", cause="test")
    with installation.store.read() as connection:
        others = [effect.id for effect in effect_queue.list_pending(connection, gateway.id)]
    assert len(others) == 2
    assert ask(installation, "/end", effect=others) == []


def test_no_more_than_a_look_can_take_is_asked_for(installation: Installation) -> None:
    with build_client(installation) as client:
        answers = [client.get("/v1/sessions/end", params={"effect": ["e"] * number}) for number in (0, 500, 501)]
    assert [answer.status_code for answer in answers] == [422, 200, 422]
