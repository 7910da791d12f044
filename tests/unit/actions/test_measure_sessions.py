"""Statistics: what was up in a time, clipped to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evertunnel.actions.measure_sessions import By, Span, Usage, measure_sessions, measure_spans
from evertunnel.model import Session, SessionState, TunnelKind
from evertunnel.storage import sessions
from tests.installation import ALICE, Installation

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def make(began: float, ended: float, **columns: Any) -> Span:
    values: dict[str, Any] = {"bytes_in": 1, "bytes_out": 10}
    return Span(NOON + timedelta(hours=began), NOON + timedelta(hours=ended), **values | columns)


def test_nothing_is_a_line_of_noughts() -> None:
    assert measure_spans([]) == [Usage("", 0, 0, 0, 0, 0, 0, 0)]
    assert measure_spans([], By.USER) == []


def test_all_in_one_line() -> None:
    spans = [make(0, 2, user="a", device="x"), make(1, 3, user="a", device="y"), make(2, 4, device="x")]
    assert measure_spans(spans) == [Usage("", 3, 6 * 3600, 3, 30, 1, 2, 2)]


def test_who_comes_when_another_goes_is_not_at_once() -> None:
    assert measure_spans([make(0, 1), make(1, 2)])[0].at_once == 1
    assert measure_spans([make(0, 5), make(1, 4), make(2, 3)])[0].at_once == 3


@pytest.mark.parametrize("by", [By.USER, By.DEVICE, By.GATEWAY])
def test_a_line_for_each(by: By) -> None:
    found = measure_spans([make(0, 1, **{by: "b"}), make(0, 1, **{by: "a"}), make(0, 1, **{by: "b"}), make(0, 1)], by)
    assert [(line.name, line.sessions) for line in found] == [("", 1), ("a", 1), ("b", 2)]


def test_a_tunnel_over_midnight_is_of_both_days_and_its_octets_of_the_first() -> None:
    found = measure_spans([make(10, 36, bytes_in=5)], By.DAY)
    assert [(line.name, line.sessions, line.seconds, line.bytes_in) for line in found] == [
        ("2026-05-04", 1, 2 * 3600, 5),
        ("2026-05-05", 1, 24 * 3600, 0),
    ]


def test_huge_octets_do_not_overflow() -> None:
    assert measure_spans([make(0, 1, bytes_in=2**63 - 1)] * 3)[0].bytes_in == 3 * (2**63 - 1)


def test_only_what_was_up_counts_and_only_for_the_time_asked(installation: Installation) -> None:
    user_id, device_id = installation.add_user(), installation.add_device()
    gateway_id, began = installation.add_gateway(), installation.now

    def insert(name: str, state: SessionState, ended_after: timedelta | None) -> None:
        with installation.store.write(began) as tx:
            made = Session(
                name, TunnelKind.USER, state, gateway_id, 1, began, user_id=user_id, device_id=device_id
            )  # fmt: skip
            sessions.insert_sessions(tx, [made])
            if ended_after is not None:
                sessions.update_session(tx, name, ended_at=began + ended_after, state="ended", bytes_in=7)

    insert("over", SessionState.UP, timedelta(hours=2))
    insert("still up", SessionState.UP, None)
    insert("never came", SessionState.PENDING, timedelta(minutes=1))
    insert("long over", SessionState.UP, timedelta(minutes=30))
    with installation.store.read() as connection:
        (line,) = measure_sessions(
            connection, since=began + timedelta(hours=1), until=began + timedelta(hours=5), by=By.USER
        )
        assert measure_sessions(connection, since=began - timedelta(days=2), until=began, by=By.DAY) == []
    assert line == Usage(ALICE, 2, 5 * 3600, 7, 0, 1, 1, 2)
