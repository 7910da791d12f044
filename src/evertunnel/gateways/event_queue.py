"""What a gateway reported and nobody handled yet: bounded, for a flood of packets makes a flood of log lines.

Log lines make records only, so they give way first. A report that finds no room is lost too, and the one who handles
reports is told: a look at the gateway then shows what it said.
"""

import queue
import threading
import time
from collections import deque

from evertunnel.vici_connection import Section

# A `None` says that the connection is new and everything must be looked at afresh.
Event = tuple[str, Section] | None

LINES_AT_MOST = 5_000
EVENTS_AT_MOST = 20_000


class EventQueue:
    """Between two threads: one puts, one gets."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, Event]] = deque()
        self._filled = threading.Condition()
        self._lost = False

    def put(self, event: Event) -> None:
        """Add an event with the time of now, or lose it. Never waits."""
        is_line = event is not None and event[0] == "log"
        with self._filled:
            if len(self._events) < (LINES_AT_MOST if is_line else EVENTS_AT_MOST):
                self._events.append((time.monotonic(), event))
                self._filled.notify()
            elif not is_line:
                self._lost = True

    def get(self, timeout: float) -> tuple[float, Event]:
        """The oldest event and when it came. Raises queue.Empty when there is none within `timeout` seconds."""
        with self._filled:
            if not self._events and timeout > 0:
                self._filled.wait(timeout)
            if not self._events:
                raise queue.Empty
            return self._events.popleft()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._events

    def take_lost(self) -> bool:
        """Whether a report was lost since this was asked last."""
        with self._filled:
            lost, self._lost = self._lost, False
            return lost
