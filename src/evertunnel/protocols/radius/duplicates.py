"""Repeated requests get the same reply, byte for byte, and are not processed twice (RFC 5080 2.2.2)."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Remembered(Generic[T]):
    """A request seen. `reply` is None while it is still being worked on, and once it was `forgotten`."""

    seen_at: float
    reply: T | None = None
    forgotten: bool = False

    def keep(self, reply: T) -> None:
        """The reply, for repetitions, unless it was forgotten meanwhile: nobody would ever find it."""
        if not self.forgotten:
            self.reply = reply

    def forget(self) -> None:
        """The reply may lead back here: as a circle it would stay in memory until all of it is searched."""
        self.reply, self.forgotten = None, True


class Duplicates(Generic[T]):
    """Requests of the last `seconds`, at most `capacity` of them; the oldest go first."""

    def __init__(self, *, seconds: float = 20.0, capacity: int = 20_000) -> None:
        self._seconds = seconds
        self.capacity = capacity
        self._seen: OrderedDict[Hashable, Remembered[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, key: Hashable, now: float) -> Remembered[T] | None:
        """What is remembered of a request: source, port, Identifier and Authenticator make the key."""
        found = self._seen.get(key)
        return found if found is not None and now - found.seen_at <= self._seconds else None

    def begin(self, key: Hashable, now: float) -> Remembered[T]:
        """Remember a new request. The caller puts the reply into what is returned."""
        while self._seen:
            oldest = next(iter(self._seen.values()))
            if len(self._seen) < self.capacity and now - oldest.seen_at <= self._seconds:
                break
            _, forgotten = self._seen.popitem(last=False)
            forgotten.forget()
        entry: Remembered[T] = Remembered(seen_at=now)
        self._seen[key] = entry
        self._seen.move_to_end(key)
        return entry

    def forget(self, key: Hashable) -> None:
        """What was not answered after all: the repetition is a new request."""
        self._seen.pop(key, None)
