"""Performs a gateway's pending effects, and says so only after the gateway shows that it is so."""

from collections.abc import Callable
from datetime import datetime

from evertunnel.effects import Effect, EffectKind
from evertunnel.errors import UnavailableError
from evertunnel.gateways.control import Control
from evertunnel.gateways.cuts import Cuts, read_cuts
from evertunnel.gateways.tunnels import Tunnel, read_tunnel
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.store import Store

_ASK_ONE_BY_ONE = 8


class EffectWorker:
    """One gateway's. Not safe between threads: it shares its caller's VICI connection."""

    def __init__(self, store: Store, gateway_id: str, connection: Control, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._gateway_id = gateway_id
        self._vici = connection
        self._clock = clock

    def perform_pending(self) -> bool:
        """Try everything that is pending once, all of it together. True when nothing is left to do.

        Of several nodes that reach the gateway one does it; the others find nothing left, or look again.
        """
        with self._store.read() as connection:
            if not effect_queue.list_pending(connection, self._gateway_id):
                return True
        with self._store.hold(f"effects of {self._gateway_id}") as held:
            return held and self._perform_pending()

    def _perform_pending(self) -> bool:
        with self._store.read() as connection:
            pending = effect_queue.list_pending(connection, self._gateway_id)
            if not pending:
                return True
            wanted = [effect for effect in pending if effect.kind is EffectKind.CUT]
            cuts = read_cuts(connection, self._gateway_id, wanted)
        left = {effect.id for effect in pending}
        error = "a tunnel is still there"
        try:
            # Whatever charon remembers of a certificate must not let the next try in, nor keep it out.
            self._vici.flush_certificates()
            left = {effect.id for effect in wanted}
            if wanted:
                left = self._cut(cuts)
        except UnavailableError as problem:
            error = str(problem)
        self._store_outcome(pending, left, error)
        return not left

    def _cut(self, cuts: Cuts) -> set[str]:
        """Cut and look again. Returns the ids of effects that the gateway does not show to be done."""
        numbers = cuts.list_numbers()
        # What is known goes first: to list ten thousand tunnels takes a while.
        for number in numbers if len(numbers) <= _ASK_ONE_BY_ONE else ():
            for tunnel in self._list_tunnels(number):
                if cuts.find_effects(tunnel):
                    self._vici.terminate(number)
        tunnels = self._list_tunnels()
        found = [tunnel for tunnel in tunnels if cuts.find_effects(tunnel)]
        if found:
            self._vici.terminate_each([tunnel.unique_id for tunnel in found])
            tunnels = self._list_tunnels()
        return cuts.list_unconfirmed(tunnels)

    def _list_tunnels(self, number: int | None = None) -> list[Tunnel]:
        return [read_tunnel(section["name"], section) for section in self._vici.list_tunnels(number)]

    def _store_outcome(self, pending: list[Effect], left: set[str], error: str) -> None:
        # Taken here and not at the commit: this is the moment at which the gateway showed it.
        with self._store.write(self._clock(), fixed=True) as tx:
            # Somebody may have been allowed again meanwhile: what was dropped is neither done nor undone.
            wanted = {effect.id for effect in effect_queue.list_pending(tx.connection, self._gateway_id)}
            done = [effect for effect in pending if effect.id in wanted - left]
            cuts = read_cuts(tx.connection, self._gateway_id, [e for e in done if e.kind is EffectKind.CUT])
            effect_queue.confirm_effects(tx, [effect.id for effect in done])
            sessions.end_sessions(
                tx, {session_id: effect.cause for effect in done for session_id in cuts.list_sessions(effect.id)}
            )
            effect_queue.note_failures(tx, wanted & left, error)
