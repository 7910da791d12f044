"""Performs a gateway's pending effects, and says so only after the gateway shows that it is so.

The cuts of a mass (effect_queue) are spread, a hundred a second. Each pass over them lists the tunnels once: that shows
what became of the hundred before.
"""

import time
from collections.abc import Callable
from datetime import datetime

from evertunnel.effects import Effect, EffectKind
from evertunnel.errors import UnavailableError
from evertunnel.gateways.control import Control
from evertunnel.gateways.cuts import Cuts, find_session_ends, read_cuts
from evertunnel.gateways.tunnels import Tunnel, read_tunnel
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.store import Store

_ASK_ONE_BY_ONE = 8
# Whoever is cut comes back at once, to be refused. More a second would take the gateway's time from those who stay.
PACED_AT_ONCE = 100
PACE_SECONDS = 1.0


class EffectWorker:
    """One gateway's. Not safe between threads: it shares its caller's VICI connection."""

    def __init__(
        self,
        store: Store,
        gateway_id: str,
        connection: Control,
        clock: Callable[[], datetime],
        *,
        read_uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._gateway_id = gateway_id
        self._vici = connection
        self._clock = clock
        self._read_uptime = read_uptime
        self._paced_at = float("-inf")
        # Effects of a mass whose tunnels were told to go, and not seen to be gone yet.
        self._ordered: frozenset[str] = frozenset()

    def perform_pending(self) -> bool:
        """Try what is due once, all of it together. True when nothing is left to do.

        Of several nodes that reach the gateway one does it; the others find nothing left, or look again.
        """
        uptime = self._read_uptime()
        paced_at_most = 2 * PACED_AT_ONCE if uptime >= self._paced_at + PACE_SECONDS else 0
        with self._store.read() as connection:
            due = effect_queue.list_due(connection, self._gateway_id, paced_at_most=paced_at_most)
        if due.is_empty:
            return not due.others
        with self._store.hold(f"effects of {self._gateway_id}") as held:
            return held and self._perform_pending(paced_at_most, uptime)

    def _perform_pending(self, paced_at_most: int, uptime: float) -> bool:
        with self._store.read() as connection:
            due = effect_queue.list_due(connection, self._gateway_id, paced_at_most=paced_at_most)
            if due.is_empty:
                return not due.others
            wanted = [effect for effect in (*due.urgent, *due.paced) if effect.kind is EffectKind.CUT]
            cuts = read_cuts(connection, self._gateway_id, wanted)
        if due.paced:
            self._paced_at = uptime
        pending = [*due.urgent, *due.paced]
        left = {effect.id for effect in pending}
        tried = {effect.id for effect in due.urgent} | self._ordered
        error = "a tunnel is still there"
        try:
            # Whatever charon remembers of a certificate must not let the next try in, nor keep it out.
            self._vici.flush_certificates()
            left = {effect.id for effect in wanted}
            if wanted:
                left = self._cut(cuts, due)
        except UnavailableError as problem:
            error = str(problem)
        self._store_outcome(pending, left, tried, error)
        return not left and not due.others

    def _cut(self, cuts: Cuts, due: effect_queue.Due) -> set[str]:
        """Cut and look again. Returns the ids of effects that the gateway does not show to be done.

        A mass is looked at again with the next pass, unless something urgent asks for a look anyway.
        """
        numbers = cuts.list_numbers(due.urgent)
        # What is known goes first: to list ten thousand tunnels takes a while.
        for number in numbers if len(numbers) <= _ASK_ONE_BY_ONE else ():
            for tunnel in self._list_tunnels(number):
                if cuts.find_effects(tunnel):
                    self._vici.terminate(number)
        tunnels = self._list_tunnels()
        paced = {effect.id for effect in due.paced}
        urgent, waiting = [], []
        found = [(tunnel, effects) for tunnel in tunnels if (effects := cuts.find_effects(tunnel))]
        for tunnel, effects in found:
            if not effects <= paced:
                urgent.append(tunnel)
            elif not effects <= self._ordered:
                waiting.append((tunnel, effects))
        del waiting[PACED_AT_ONCE:]
        if urgent or waiting:
            self._vici.terminate_each([tunnel.unique_id for tunnel in (*urgent, *(each for each, _ in waiting))])
        if urgent:
            tunnels = self._list_tunnels()
        if due.paced:
            self._ordered = frozenset().union(*(effects for _, effects in waiting))
        return cuts.list_unconfirmed(tunnels)

    def _list_tunnels(self, number: int | None = None) -> list[Tunnel]:
        return [read_tunnel(section["name"], section) for section in self._vici.list_tunnels(number, children=False)]

    def _store_outcome(self, pending: list[Effect], left: set[str], tried: set[str], error: str) -> None:
        # Taken here and not at the commit: this is the moment at which the gateway showed it.
        with self._store.write(self._clock(), fixed=True) as tx:
            # Somebody may have been allowed again meanwhile: what was dropped is neither done nor undone.
            wanted = effect_queue.list_still_pending(tx.connection, [effect.id for effect in pending])
            done = [effect for effect in pending if effect.id in wanted - left]
            ends = find_session_ends(
                tx.connection, self._gateway_id, [effect for effect in done if effect.kind is EffectKind.CUT]
            )
            effect_queue.confirm_effects(tx, [effect.id for effect in done])
            sessions.end_sessions(tx, ends)
            effect_queue.note_failures(tx, wanted & left & tried, error)
