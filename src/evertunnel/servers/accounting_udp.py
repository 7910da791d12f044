"""The accounting port: its socket, one commit for all that waits, and the sessions nobody speaks of any more."""

import socket
import time
from collections.abc import Collection
from datetime import timedelta
from itertools import chain

import structlog

from evertunnel import clock
from evertunnel.actions.end_silent_sessions import end_silent_sessions
from evertunnel.errors import UnavailableError
from evertunnel.model import ACCOUNTING_INTERVAL_SECONDS
from evertunnel.servers.accounting_server import AccountingServer, Pending
from evertunnel.servers.listening import Listening
from evertunnel.servers.logins import Elsewhere, Reply
from evertunnel.servers.radsec_link import RadSecPort
from evertunnel.servers.shared_port import Port
from evertunnel.storage.gateways import RADSEC
from evertunnel.storage.store import Store

_LOOK_EVERY_SECONDS = 60.0
_SILENCE = timedelta(seconds=3 * ACCOUNTING_INTERVAL_SECONDS)

log = structlog.get_logger()


class AccountingPort:
    """The loop of the RADIUS process calls `take_turn`. Of several workers one looks for silence."""

    def __init__(
        self,
        port: Port,
        server: AccountingServer,
        store: Store,
        radsec: RadSecPort | None = None,
        *,
        looks_for_silence: bool = True,
    ) -> None:
        self._port = port
        self._server = server
        self._store = store
        self._radsec = radsec
        self._looks_for_silence = looks_for_silence
        self._listening = Listening()
        self._look_at = 0.0

    @property
    def sockets(self) -> list[socket.socket]:
        """For poll."""
        return self._port.sockets + (self._radsec.sockets if self._radsec is not None else [])

    def take_turn(self, ready: Collection[int]) -> None:
        """Store and answer what came, and look for sessions that went silent, if that is due.

        `ready` is the descriptors that poll found.
        """
        waiting: list[Pending] = []
        arrivals = self._port.receive(ready)
        for arrival in arrivals if self._radsec is None else chain(arrivals, self._radsec.receive(ready)):
            data, source, _ = arrival
            match self._server.receive(data, source, now=clock.now(), uptime=time.monotonic()):
                case Reply() as reply:
                    self._send(reply)
                case Pending() as pending:
                    waiting.append(pending)
                case Elsewhere(worker):
                    self._port.hand_over(worker, arrival)
        if waiting:
            for reply in self._server.commit(waiting, clock.now()):
                self._send(reply)
        uptime = time.monotonic()
        if uptime >= self._look_at:
            self._look_at = uptime + _LOOK_EVERY_SECONDS
            unanswered = self._radsec.take_dropped() if self._radsec is not None else {}
            if dropped := self._server.take_dropped() | self._port.take_dropped() | unanswered:
                log.warning("accounting packets dropped", **dropped)
            if self._looks_for_silence:
                self._look_for_silence(uptime)

    def _send(self, reply: Reply) -> None:
        if self._radsec is not None and reply.destination[0].startswith(RADSEC):
            self._radsec.send(reply)
        else:
            self._port.send(reply)

    def _look_for_silence(self, uptime: float) -> None:
        now = clock.now()
        if not self._listening.has_lasted(_SILENCE, now=now, uptime=uptime):
            return
        try:
            with self._store.write(now) as tx:
                ended = end_silent_sessions(tx, silence=_SILENCE)
        except UnavailableError as error:
            log.warning("cannot look for silent sessions", error=str(error))
            return
        if ended:
            log.warning("sessions ended: their gateway is silent", sessions=ended)
