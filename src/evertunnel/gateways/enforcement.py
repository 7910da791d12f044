"""The live sessions of one gateway, decided again for every change that concerns them."""

from collections.abc import Callable, Set
from datetime import datetime

import structlog
from sqlalchemy import Connection

from evertunnel.actions.decide import Decider
from evertunnel.actions.decide_alike import find_refused
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.model import Gateway
from evertunnel.storage import live_sessions
from evertunnel.storage.snapshot import GATEWAY, Changes
from evertunnel.storage.store import Store

# Between so many logins are recorded: whoever was cut off comes back, and nobody waits until all are written.
_ENDED_AT_ONCE = 500

log = structlog.get_logger()


class Enforcement:
    """For one thread, which the decider belongs to."""

    def __init__(self, store: Store, gateway: Gateway, decider: Decider, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._gateway = gateway
        self._decider = decider
        self._clock = clock
        self._changes = Changes()

    @property
    def is_due(self) -> bool:
        """Whether something changed that sessions were not decided for yet."""
        return bool(self._changes.kinds)

    def refresh(self, connection: Connection) -> None:
        """Follow the database, and remember whose sessions must be decided again."""
        self._changes = self._changes.join(self._decider.refresh(connection))

    def enforce(self) -> bool:
        """Something may have been taken away: decide the sessions concerned again. True when a gateway changed.

        Nobody's login waits while thousands are decided: only what is to end is decided again where it is written.
        """
        with self._store.read() as connection:
            self.refresh(connection)
            changes = self._changes
            rows = (
                live_sessions.list_of_gateway(connection, self._gateway.id)
                if changes.everybody
                else live_sessions.list_of_owners(connection, self._gateway.id, changes.ids)
            )
        refused = sorted(find_refused(self._decider, rows, now=self._clock()))
        self._changes = Changes()
        ended: list[str] = []
        try:
            for start in range(0, len(refused), _ENDED_AT_ONCE):
                ended += self._end(frozenset(refused[start : start + _ENDED_AT_ONCE]))
        except BaseException:
            self._changes = changes.join(self._changes)
            raise
        if ended:
            log.info("sessions lost what entitled them", gateway=self._gateway.name, sessions=len(ended))
        return GATEWAY in changes.kinds

    def _end(self, refused: Set[str]) -> list[str]:
        with self._store.write(self._clock()) as tx:
            self.refresh(tx.connection)
            again = live_sessions.list_of_owners(tx.connection, self._gateway.id, refused)
            return end_unentitled_sessions(tx, self._decider, again)
