"""Conversations that are open, found by the State attribute; bounded in number, memory and age (RFC 2865 5.24)."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from evertunnel.protocols.eap.stage import Stage

T = TypeVar("T")

STATE_BYTES = 16
# How long a conversation waits for its peer.
OPEN_SECONDS = 30.0


@dataclass(slots=True)
class _Open(Generic[T]):
    since: float
    gateway_id: str
    stage: Stage
    conversation: T
    queues: "_Queues"


class OpenConversations(Generic[T]):
    """State -> conversation. A State is random, names its gateway's conversation only, and is used up by each turn.

    What holds TLS state has a bound of its own, `tls_capacity`: it weighs twenty times the rest.
    """

    def __init__(self, *, seconds: float = OPEN_SECONDS, capacity: int = 10_000, tls_capacity: int = 1_000) -> None:
        self._seconds = seconds
        self._open: dict[bytes, _Open[T]] = {}
        self._light, self._heavy = _Queues(capacity), _Queues(tls_capacity)

    def __len__(self) -> int:
        return len(self._open)

    def put(self, state: bytes, gateway_id: str, conversation: T, now: float, stage: Stage = Stage.NOTHING) -> T | None:
        """Keep a conversation until its next turn. Returns the one that had to make room for it, if any."""
        queues = self._heavy if stage.is_heavy else self._light
        self._open[state] = opened = _Open(now, gateway_id, stage, conversation, queues)
        queues.add(state, opened)
        victim = queues.find_victim()
        return None if victim is None else self._remove(victim).conversation

    def resize(self, *, capacity: int, tls_capacity: int) -> list[T]:
        """Other bounds from now on. Returns those that had to make room."""
        removed = []
        for queues, at_most in ((self._light, capacity), (self._heavy, tls_capacity)):
            queues.capacity = at_most
            while (victim := queues.find_victim()) is not None:
                removed.append(self._remove(victim).conversation)
        return removed

    def take(self, state: bytes, gateway_id: str, now: float) -> T | None:
        """The conversation of a State if it is this gateway's and not too old. It must be put back for another turn."""
        found = self._open.get(state)
        if found is None or found.gateway_id != gateway_id or now - found.since > self._seconds:
            return None
        return self._remove(state).conversation

    def expire(self, now: float) -> Iterator[T]:
        """Conversations whose peer stopped answering; they are closed."""
        for queues in (self._light, self._heavy):
            for state in queues.list_older(now - self._seconds):
                yield self._remove(state).conversation

    def _remove(self, state: bytes) -> _Open[T]:
        removed = self._open.pop(state)
        removed.queues.remove(state, removed)
        return removed


class _Queues:
    """States by gateway and stage, the oldest first.

    When there are too many, the gateway that has most of them gives one up, so that a gateway under attack cannot
    take the places of the others. At the stage where most wait, for that is where the attacker stops, whichever it is
    (the least progress where two are as full): the one that waits longest. Who goes on is never the one.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._count = 0
        self._counts: dict[str, int] = {}
        self._queues: dict[tuple[str, Stage], OrderedDict[bytes, float]] = {}

    def add(self, state: bytes, opened: _Open[T]) -> None:
        self._count += 1
        self._counts[opened.gateway_id] = self._counts.get(opened.gateway_id, 0) + 1
        self._queues.setdefault((opened.gateway_id, opened.stage), OrderedDict())[state] = opened.since

    def remove(self, state: bytes, opened: _Open[T]) -> None:
        self._count -= 1
        self._counts[opened.gateway_id] -= 1
        queue = self._queues[opened.gateway_id, opened.stage]
        del queue[state]
        if not queue:
            del self._queues[opened.gateway_id, opened.stage]
        if not self._counts[opened.gateway_id]:
            del self._counts[opened.gateway_id]

    def find_victim(self) -> bytes | None:
        """Who has to go, if somebody has to."""
        if self._count <= self.capacity:
            return None
        gateway_id = max(self._counts, key=self._counts.__getitem__)
        stages = [stage for stage in Stage if (gateway_id, stage) in self._queues]
        fullest = max(stages, key=lambda stage: len(self._queues[gateway_id, stage]))
        return next(iter(self._queues[gateway_id, fullest]))

    def list_older(self, moment: float) -> list[bytes]:
        """Those that began to wait before a moment."""
        older = []
        for queue in self._queues.values():
            for state, since in queue.items():
                if since >= moment:
                    break
                older.append(state)
        return older
