"""Tunnels that went, and what their children counted last: many are recorded in one transaction.

After a mass was cut, and while whoever was cut comes back to be refused, a gateway reports hundreds a second.
"""

from collections.abc import Callable
from datetime import datetime

from evertunnel.actions.follow_tunnel import TunnelReport, close_sessions, list_closed
from evertunnel.model import Gateway
from evertunnel.storage import sessions
from evertunnel.storage.store import Store


class Departures:
    """One gateway's, since they were recorded last."""

    def __init__(self, store: Store, gateway: Gateway, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._tunnels: list[TunnelReport] = []
        self._octets: dict[str, tuple[int, int]] = {}

    def add_tunnel(self, report: TunnelReport) -> None:
        """A tunnel went, or did not come up."""
        self._tunnels.append(report)

    def add_octets(self, spis: str, octets: tuple[int, int]) -> None:
        """What a tunnel counted in all when one of its children went."""
        self._octets[spis] = octets

    def record(self, session_ids: dict[str, str], closed_ids: dict[str, str]) -> None:
        """Close their sessions, which go into `closed_ids`. Both are ids by indexes.

        Writes only when there is something: most that do not come up never had a session. Raises UnavailableError;
        then they are forgotten, and the next look at the gateway shows that they are gone.
        """
        tunnels, self._tunnels = self._tunnels, []
        octets, self._octets = self._octets, {}
        if tunnels:
            with self._store.read() as connection:
                tunnels = tunnels if list_closed(connection, self._gateway, tunnels) else []
        if not tunnels and not any(spis in closed_ids or spis in session_ids for spis in octets):
            return
        with self._store.write(self._clock()) as tx:
            closed_ids.update(close_sessions(tx, self._gateway, tunnels))
            counted = {closed_ids.get(spis) or session_ids.get(spis): both for spis, both in octets.items()}
            sessions.store_traffic(tx, {session_id: both for session_id, both in counted.items() if session_id})
