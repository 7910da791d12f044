"""What strongSwan reported and the server was not told yet.

While nobody takes it only rekeys are kept: a look at the gateway shows all the rest, but not that a tunnel is the same
one under other indexes.
"""

import threading
from collections import deque

from evertunnel.gateways.wire import PART_BYTES, measure
from evertunnel.protocols.agent.messages import EVENTS_AT_ONCE, Event, Events

_LINES_AT_MOST = 5_000
_EVENTS_AT_MOST = 20_000
_NOT_YET = "strongSwan was not reached yet"


class Outbox:
    """Between the thread that listens and the one that sends."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._filled = threading.Condition()
        self._open = self._lost = self._fresh = False
        self._away = _NOT_YET
        self._state_due = False

    def open(self) -> None:
        """Somebody takes it from now on; he is told first how strongSwan is."""
        with self._filled:
            self._open = self._state_due = True
            self._fresh = not self._away
            self._filled.notify()

    def close(self) -> None:
        """Nobody takes it any more."""
        with self._filled:
            self._open = False
            self._events = deque(event for event in self._events if event.name == "ike-rekey")
            self._filled.notify()

    def put(self, event: Event) -> None:
        """Keep it, if anybody will want it. Never waits."""
        with self._filled:
            if not self._open and event.name != "ike-rekey":
                return
            if len(self._events) < (_LINES_AT_MOST if event.name == "log" else _EVENTS_AT_MOST):
                self._events.append(event)
                self._filled.notify()
            elif event.name != "log":
                self._lost = True

    def say_fresh(self) -> None:
        """strongSwan is there, and what it said before counts no longer."""
        with self._filled:
            self._events.clear()
            self._away, self._fresh, self._state_due = "", True, True
            self._filled.notify()

    def say_away(self, why: str) -> None:
        """It is not."""
        with self._filled:
            self._state_due = self._state_due or why != self._away
            self._away, self._fresh = why, False
            self._filled.notify()

    def take(self, timeout_seconds: float) -> Events | None:
        """What is to be sent next, once; None when there is nothing within the time."""
        with self._filled:
            if not self._events and not self._state_due and not self._lost:
                self._filled.wait(timeout_seconds)
            if not self._open or not (self._events or self._state_due or self._lost):
                return None
            batch = self._take_batch()
            state_due = self._state_due and not self._events  # after what was before it
            found = Events(
                events=batch,
                lost=self._lost,
                away=self._away[:600] if state_due and not self._fresh else "",
                fresh=state_due and self._fresh,
            )
            self._lost = False
            if state_due:
                self._state_due = self._fresh = False
            return found

    def _take_batch(self) -> list[Event]:
        """As many as fit into a frame."""
        batch: list[Event] = []
        filled = 0
        while self._events and len(batch) < EVENTS_AT_ONCE:
            filled += measure(self._events[0])
            if batch and filled > PART_BYTES:
                break
            batch.append(self._events.popleft())
        return batch
