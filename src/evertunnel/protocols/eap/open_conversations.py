"""Conversations that are open, found by the State attribute; bounded in number and age (RFC 2865 5.24)."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

STATE_BYTES = 16


class OpenConversations(Generic[T]):
    """State -> conversation. A State is random, names its gateway's conversation only, and is used up by each turn."""

    def __init__(self, *, seconds: float = 30.0, capacity: int = 10_000) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._open: OrderedDict[bytes, tuple[float, str, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def put(self, state: bytes, gateway_id: str, conversation: T, now: float) -> T | None:
        """Keep a conversation until its next turn. Returns the one that had to make room for it, if any."""
        evicted: T | None = None
        if len(self._open) >= self._capacity:
            _, (_, _, evicted) = self._open.popitem(last=False)
        self._open[state] = (now, gateway_id, conversation)
        return evicted

    def take(self, state: bytes, gateway_id: str, now: float) -> T | None:
        """The conversation of a State if it is this gateway's and not too old. It must be put back for another turn."""
        found = self._open.get(state)
        if found is None or found[1] != gateway_id or now - found[0] > self._seconds:
            return None
        del self._open[state]
        return found[2]

    def expire(self, now: float) -> Iterator[T]:
        """Conversations whose peer stopped answering; they are closed."""
        while self._open:
            state, (since, _, conversation) = next(iter(self._open.items()))
            if now - since <= self._seconds:
                return
            del self._open[state]
            yield conversation
