"""The queue between a gateway's two threads: what it may lose, and what it says of that."""

import queue

import pytest

from evertunnel.gateways.event_queue import EVENTS_AT_MOST, LINES_AT_MOST, EventQueue

LINE = ("log", {"msg": "received packet"})
REPORT = ("ike-updown", {"up": "yes"})


def drain(events: EventQueue) -> list[object]:
    found: list[object] = []
    while not events.empty():
        found.append(events.get(timeout=0)[1])
    return found


def test_log_lines_give_way_to_reports() -> None:
    events = EventQueue()
    for _ in range(2 * LINES_AT_MOST):
        events.put(LINE)
    events.put(REPORT)
    found = drain(events)
    assert (len(found), found[-1]) == (LINES_AT_MOST + 1, REPORT)
    assert not events.take_lost()


def test_a_report_without_room_is_lost_and_said_to_be() -> None:
    events = EventQueue()
    for _ in range(EVENTS_AT_MOST + 5):
        events.put(REPORT)
    assert len(drain(events)) == EVENTS_AT_MOST
    assert events.take_lost()
    assert not events.take_lost()


def test_nothing_comes_from_an_empty_queue() -> None:
    with pytest.raises(queue.Empty):
        EventQueue().get(timeout=0.01)
