"""Sessions in the database: from pending to ended, and the first reason stays."""

from typing import Any

from evertunnel.model import Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import sessions
from evertunnel.storage.tables import AnyRow
from tests.installation import Installation


def insert(installation: Installation, *made: Session) -> None:
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, made)


def make(installation: Installation, session_id: str = "s1", **columns: Any) -> Session:
    values = {"kind": TunnelKind.USER, "state": SessionState.UP, "gateway_id": "g1", "unique_id": 1, "user_id": "u1"}
    return Session(id=session_id, created_at=installation.clock.forward(seconds=1), **values | columns)


def get(installation: Installation, session_id: str = "s1") -> AnyRow:
    with installation.store.read() as connection:
        found = sessions.list_sessions(connection, live_only=False, limit=100)
    return next(row for row in found if row.id == session_id)


def test_no_sessions_are_no_statement(installation: Installation) -> None:
    insert(installation)
    with installation.store.read() as connection:
        assert sessions.list_sessions(connection, live_only=False, limit=10) == []


def test_pending_up_and_ending_are_live_and_ended_is_not(installation: Installation) -> None:
    insert(installation, *(make(installation, state.value, state=state) for state in SessionState))
    with installation.store.read() as connection:
        live = {row.id for row in sessions.list_sessions(connection, live_only=True, limit=10)}
        of_gateway = {row.id for row in sessions.list_live_of_gateway(connection, "g1")}
        of_user = {row.id for row in sessions.list_live_of_subject(connection, SubjectKind.USER, "u1")}
    assert live == of_gateway == of_user == {"pending", "up", "ending"}


def test_the_newest_session_of_a_gateway_comes_first(installation: Installation) -> None:
    insert(installation, make(installation, "old"), make(installation, "new"), make(installation, "x", gateway_id="g2"))
    with installation.store.read() as connection:
        assert [row.id for row in sessions.list_live_of_gateway(connection, "g1")] == ["new", "old"]


def test_a_devices_sessions_are_its_own_and_its_users(installation: Installation) -> None:
    insert(
        installation,
        make(installation, "device", kind=TunnelKind.DEVICE, user_id=None, device_id="d1"),
        make(installation, "user", device_id="d1"),
        make(installation, "other", device_id="d2"),
    )
    with installation.store.read() as connection:
        found = sessions.list_live_of_subject(connection, SubjectKind.DEVICE, "d1")
    assert {row.id for row in found} == {"device", "user"}


def test_the_first_reason_of_an_end_stays(installation: Installation) -> None:
    insert(installation, make(installation))
    with installation.store.write(installation.now) as tx:
        sessions.mark_ending(tx, ["s1"], "denied: left")
        sessions.end_session(tx, "s1", "the tunnel was closed")
        sessions.end_session(tx, "s1", "again")
    row = get(installation)
    assert (row.state, row.end_reason, row.ended_at) == ("ended", "denied: left", installation.now)


def test_a_session_that_ended_is_not_made_ending_again(installation: Installation) -> None:
    insert(installation, make(installation))
    with installation.store.write(installation.now) as tx:
        sessions.end_session(tx, "s1", "the tunnel was closed")
        sessions.mark_ending(tx, ["s1"], "denied: late")
    assert (get(installation).state, get(installation).end_reason) == ("ended", "the tunnel was closed")


def test_marking_nothing_marks_nothing(installation: Installation) -> None:
    insert(installation, make(installation))
    with installation.store.write(installation.now) as tx:
        sessions.mark_ending(tx, [], "denied")
    assert get(installation).state == "up"


def test_traffic_is_stored_for_each_session(installation: Installation) -> None:
    insert(installation, make(installation, "a"), make(installation, "b"))
    with installation.store.write(installation.clock.forward(seconds=5)) as tx:
        sessions.store_traffic(tx, {"a": (1, 2), "b": (3, 2**40)})
        sessions.store_traffic(tx, {})
    assert [(get(installation, one).bytes_in, get(installation, one).bytes_out) for one in "ab"] == [(1, 2), (3, 2**40)]
    assert get(installation, "a").seen_at == installation.now


def test_up_since_is_known_for_a_session_that_begins_up(installation: Installation) -> None:
    insert(installation, make(installation, "up"), make(installation, "pending", state=SessionState.PENDING))
    assert get(installation, "up").up_at == get(installation, "up").created_at
    assert get(installation, "pending").up_at is None


def test_no_more_than_the_limit_is_listed(installation: Installation) -> None:
    insert(installation, *(make(installation, str(number)) for number in range(5)))
    with installation.store.read() as connection:
        assert [row.id for row in sessions.list_sessions(connection, live_only=True, limit=2)] == ["4", "3"]
