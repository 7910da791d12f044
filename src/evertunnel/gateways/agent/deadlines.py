"""Ends of tunnels that were given to this host: kept through restarts, and kept to while the server is away.

By a tunnel's indexes, which no other has; its number may be another tunnel's after strongSwan restarted.
"""

import threading
from collections.abc import Callable
from datetime import datetime

from evertunnel.gateways.agent.folder import AgentFolder
from evertunnel.gateways.control import Control
from evertunnel.gateways.termination import terminate_tunnel


class Deadlines:
    """Safe between threads. The wall clock counts: no other goes on while this host is off."""

    def __init__(self, folder: AgentFolder, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._deadlines = folder.load_deadlines()

    def keep(self, number: int, spis: str, seconds: int) -> None:
        """End a tunnel in so many seconds; never later than it was told before. Raises UnavailableError."""
        moment = self._clock().timestamp() + seconds
        with self._lock:
            known = self._deadlines.get(spis)
            self._deadlines[spis] = (number, min(moment, known[1]) if known else moment)
            self._folder.store_deadlines(self._deadlines)

    def follow_rekey(self, old_spis: str, number: int, spis: str) -> None:
        """A tunnel goes on under another number and other indexes. Raises UnavailableError."""
        with self._lock:
            if known := self._deadlines.pop(old_spis, None):
                self._deadlines[spis] = (number, known[1])
                self._folder.store_deadlines(self._deadlines)

    def end_due(self, control: Control) -> int:
        """End what is due. Returns how many; raises UnavailableError, and then tries again next time."""
        now = self._clock().timestamp()
        with self._lock:
            due = {spis: number for spis, (number, moment) in self._deadlines.items() if moment <= now}
        for spis, number in due.items():
            terminate_tunnel(control, number, spis)
            with self._lock:
                self._deadlines.pop(spis, None)
                self._folder.store_deadlines(self._deadlines)
        return len(due)

    def keep_only(self, listed: set[str]) -> None:
        """Forget those whose tunnel is gone."""
        with self._lock:
            if gone := self._deadlines.keys() - listed:
                for spis in gone:
                    del self._deadlines[spis]
                self._folder.store_deadlines(self._deadlines)
