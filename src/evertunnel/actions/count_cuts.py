"""Count which live sessions a change of policies, facts or groups would end, before it is made."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Connection

from evertunnel.actions.decide import Decider
from evertunnel.actions.decide_alike import find_refused
from evertunnel.errors import ConfirmationNeededError
from evertunnel.storage import sessions
from evertunnel.storage.store import Store, Transaction

# Fewer than this nobody has to be asked about.
_MANY = 5


@dataclass(frozen=True, slots=True)
class Cuts:
    """How many sessions live, and how many of them a change would end."""

    live: int
    ended: int

    @property
    def percent(self) -> int:
        """The share that would end, rounded up: what is a little more than a share is more."""
        return -(-100 * self.ended // self.live) if self.live else 0


def verify_cuts(
    store: Store, change: Callable[[Store], object], decider: Decider, *, at_most_percent: int, now: datetime
) -> None:
    """Raise ConfirmationNeededError when a change would end more than its share of the live sessions.

    `change` is the very action that is about to be made, on one transaction; here it is undone. The decider is a fresh
    one. What it raises is raised.
    """
    with store.read() as connection:
        if sessions.count_live(connection) < _MANY:
            return
    cuts = count_cuts(store, change, decider, now=now)
    if cuts.ended >= _MANY and cuts.percent > at_most_percent:
        raise ConfirmationNeededError(
            f"this would end {cuts.ended} of {cuts.live} live sessions at once ({cuts.percent} %; up to "
            f"{at_most_percent} % nobody is asked): say that you want it with --cut; what a conditional access policy "
            "does can be tried report-only first"
        )


def count_cuts(store: Store, change: Callable[[Store], object], decider: Decider, *, now: datetime) -> Cuts:
    """Decide every live session as things are and as they would be, with nothing locked meanwhile."""
    with store.read() as connection:
        decider.refresh(connection)
        rows = sessions.list_live(connection)
    before = find_refused(decider, rows, now=now)
    try_out(store, change, decider)
    return Cuts(len(rows), len(find_refused(decider, rows, now=now) - before))


def try_out(store: Store, change: Callable[[Store], object], decider: Decider) -> None:
    """Make a change and undo it. The decider follows it and is then of a state that never was: throw it away."""
    with suppress(_UndoneError):
        change(cast("Store", _Trial(store, decider)))
    decider.compile()


class _UndoneError(Exception):
    """Nothing of a trial stays."""


class _Trial:
    """A store whose transactions are looked at and undone."""

    def __init__(self, store: Store, decider: Decider) -> None:
        self._store = store
        self._decider = decider

    def read(self) -> AbstractContextManager[Connection]:
        """As a store's."""
        return self._store.read()

    @contextmanager
    def write(self, now: datetime) -> Iterator[Transaction]:
        """As a store's, up to the end."""
        with self._store.write(now) as tx:
            yield tx
            tx.seal()  # what changed is read there
            self._decider.read(tx.connection)
            raise _UndoneError
