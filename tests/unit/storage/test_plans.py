"""How SQLite finds what is asked for daily, or at each tunnel: by an index, whatever was recorded in years."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from evertunnel.model import Attempt, AttemptKind, Outcome, Reason, Session, SessionState, TunnelKind
from evertunnel.storage import accounting, attempts, sessions
from tests.installation import BEGINNING, Installation

ATTEMPT = Attempt("0123456789abcdef", BEGINNING, AttemptKind.USER_TUNNEL, Outcome.REFUSED, Reason.USER_DENIED)
Asked = Callable[[Connection], object]


def list_plans(installation: Installation, asked: Asked) -> list[str]:
    """What SQLite says of each of its statements."""
    found: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        found.append((statement, values))

    engine = installation.store.engine
    event.listen(engine, "before_cursor_execute", keep)
    try:
        with installation.store.read() as connection:
            asked(connection)
    finally:
        event.remove(engine, "before_cursor_execute", keep)
    with installation.store.read() as connection:
        driver: Any = connection.connection.driver_connection
        return [row[3] for text, values in found for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", values)]


@pytest.mark.parametrize("beginning", ["0123", "0123456789abcdef"])
def test_an_attempt_is_found_by_its_id(sqlite_installation: Installation, beginning: str) -> None:
    with sqlite_installation.store.write(sqlite_installation.now) as tx:
        tx.record_attempt(ATTEMPT)
    plans = list_plans(sqlite_installation, lambda connection: attempts.get_attempt(connection, beginning))
    assert not [plan for plan in plans if plan.startswith("SCAN")], plans


def test_past_sessions_are_read_from_the_newest_on(sqlite_installation: Installation) -> None:
    plans = list_plans(
        sqlite_installation, lambda connection: sessions.list_sessions(connection, live_only=False, limit=50)
    )
    assert "SCAN sessions USING INDEX ix_sessions_created_at" in plans


@pytest.mark.parametrize(
    "asked",
    [
        lambda connection: sessions.list_sessions(connection, live_only=True, limit=50),
        sessions.list_live,
    ],
)
def test_live_sessions_are_found_among_all_that_ended(sqlite_installation: Installation, asked: Asked) -> None:
    plans = [plan for plan in list_plans(sqlite_installation, asked) if " sessions " in plan]
    assert plans and all("INDEX ix_sessions_live" in plan for plan in plans), plans


def test_a_tunnels_session_is_found_by_its_number(sqlite_installation: Installation) -> None:
    plans = list_plans(
        sqlite_installation,
        lambda connection: accounting.find_session_of_tunnel(
            connection, "g1", unique_id=7, virtual_addresses="10.31.0.1", ended_after=BEGINNING
        ),
    )
    assert "SEARCH sessions USING INDEX ix_sessions_gateway_id_unique_id (gateway_id=? AND unique_id=?)" in plans


def test_what_a_gateway_counted_early_is_found_by_its_number(sqlite_installation: Installation) -> None:
    session = Session("s1", TunnelKind.DEVICE, SessionState.UP, "g1", 7, BEGINNING, virtual_addresses="10.31.0.1")

    def join(_connection: Connection) -> None:
        with sqlite_installation.store.write(BEGINNING) as tx:
            accounting.join_session(tx, session)

    plans = list_plans(sqlite_installation, join)
    assert "SEARCH accounting USING INDEX ix_accounting_gateway_id_unique_id (gateway_id=? AND unique_id=?)" in plans
