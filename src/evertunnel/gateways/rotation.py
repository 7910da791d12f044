"""Very many things looked at a part at a time, each of them in its turn. Pure."""

from bisect import bisect_right
from collections.abc import Iterable


class Rotation:
    """At most so many ids a turn, from where the turn before ended; few enough are taken whole."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._last = ""

    def take(self, ids: Iterable[str]) -> frozenset[str]:
        """Those whose turn it is among all there are now."""
        ordered = sorted(ids)
        if len(ordered) <= self._at_once:
            return frozenset(ordered)
        start = bisect_right(ordered, self._last)
        taken = (ordered[start:] + ordered[:start])[: self._at_once]
        self._last = taken[-1]
        return frozenset(taken)
