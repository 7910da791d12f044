"""Sessions as the API tells them: how long, how much, why they ended; statistics; what nobody granted."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from evertunnel.actions.account import AccountingReport, account
from evertunnel.model import Gateway, Session, SessionState, TunnelKind
from evertunnel.storage import sessions
from tests.installation import ALICE, Installation
from tests.unit.web.api.clients import build_client


def ask(installation: Installation, path: str, **query: Any) -> Any:
    with build_client(installation) as client:
        answer = client.get(f"/v1/sessions{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def open_session(installation: Installation) -> Gateway:
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    with installation.store.write(installation.now) as tx:
        made = Session(
            "s1", TunnelKind.USER, SessionState.UP, gateway_id, 7, installation.now, user_id=user_id, spis="a_b"
        )
        sessions.insert_sessions(tx, [made])
    return Gateway(gateway_id, "gw1", "127.0.0.1")


def count(installation: Installation, gateway: Gateway, **values: Any) -> None:
    with installation.store.write(installation.now) as tx:
        account(tx, AccountingReport(gateway, "1-7", installation.now, **values))


def end(installation: Installation, reason: str) -> None:
    with installation.store.write(installation.now) as tx:
        sessions.end_session(tx, "s1", reason)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"user": ALICE}, 1),
        ({"user": ALICE.upper(), "gateway": "GW1"}, 1),
        ({"user": "bob@corp.example"}, 0),
        ({"device": "laptop9.corp.example"}, 0),
        ({"user": ALICE, "device": "laptop9.corp.example"}, 0),
    ],
)
def test_sessions_of_a_user_a_device_or_a_gateway_are_listed(
    installation: Installation, query: dict[str, str], found: int
) -> None:
    open_session(installation)
    installation.add_user("bob@corp.example")
    installation.add_device("laptop9.corp.example")
    assert len(ask(installation, "", **query)) == found


@pytest.mark.parametrize("query", [{"user": "nobody@corp.example"}, {"device": "nowhere"}, {"gateway": "gw9"}])
def test_sessions_of_nobody_are_no_empty_list(installation: Installation, query: dict[str, str]) -> None:
    with build_client(installation) as client:
        answer = client.get("/v1/sessions", params=query)
    assert (answer.status_code, next(iter(query.values())) in answer.json()["title"]) == (404, True)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("the tunnel was closed", "the tunnel was closed: the client no longer answered"),
        ("denied: left", "denied: left"),
    ],
)
def test_a_past_session_says_how_long_how_much_and_why_it_ended(
    installation: Installation, reason: str, told: str
) -> None:
    gateway = open_session(installation)
    installation.clock.forward(seconds=90)
    end(installation, reason)
    count(
        installation, gateway, session_ids=("s1",), bytes_in=5, bytes_out=6, end_cause="the client no longer answered"
    )
    installation.clock.forward(hours=1)
    (row,) = ask(installation, "", live=False)
    assert (row["seconds"], row["bytes_in"], row["bytes_out"], row["end"]) == (90, 5, 6, told)
    assert row["end_cause"] == "the client no longer answered"
    assert ask(installation, "/unrecognised") == []


def test_a_live_session_has_lasted_until_now(installation: Installation) -> None:
    open_session(installation)
    installation.clock.forward(seconds=30)
    assert [row["seconds"] for row in ask(installation, "")] == [30]


def test_what_nobody_granted_is_told_apart(installation: Installation) -> None:
    gateway = open_session(installation)
    count(installation, gateway, user_name="mallory", unique_id=3)
    (row,) = ask(installation, "/unrecognised")
    assert (row["gateway"], row["claimed_identity"], row["ended_at"]) == ("gw1", "mallory", None)


@pytest.mark.parametrize("by", ["", "day"])
def test_a_session_that_is_up_has_not_lasted_into_the_future(installation: Installation, by: str) -> None:
    open_session(installation)
    now = installation.clock.forward(hours=1)
    found = ask(installation, "/statistics", until="8999-01-01", **({"by": by} if by else {}))
    assert datetime.fromisoformat(found["until"]) == now
    assert [line["seconds"] for line in found["usage"]] == [3600]


def test_statistics_are_of_thirty_days_unless_told(installation: Installation) -> None:
    open_session(installation)
    installation.clock.forward(days=31)
    end(installation, "over")
    found = ask(installation, "/statistics", by="user")
    assert [line["seconds"] for line in found["usage"]] == [30 * 24 * 3600]
    since = (installation.now - timedelta(days=40)).strftime("%Y-%m-%d")
    found = ask(installation, "/statistics", since=since)
    assert [(line["sessions"], line["seconds"]) for line in found["usage"]] == [(1, 31 * 24 * 3600)]


@pytest.mark.parametrize(
    "query",
    [
        {"since": "2030-01-01", "until": "2029-01-01"}, {"since": "yesterday"}, {"by": "moon"},
        {"since": "9999-12-31T23:59:59-23:00"}, {"until": "0001-01-01T00:00:00+23:00"}, {"until": "0001-01-02"},
    ],
    ids=str,
)  # fmt: skip
def test_a_time_that_cannot_be_is_an_error_in_words(installation: Installation, query: dict[str, str]) -> None:
    with build_client(installation) as client:
        answer = client.get("/v1/sessions/statistics", params=query)
    assert answer.status_code == 422, answer.text
