"""The accounting port: its socket, one commit for all that waits, and the sessions nobody speaks of any more."""

import socket
import time
from datetime import timedelta

import structlog

from evertunnel import clock
from evertunnel.actions.end_silent_sessions import end_silent_sessions
from evertunnel.errors import UnavailableError
from evertunnel.model import ACCOUNTING_INTERVAL_SECONDS
from evertunnel.servers.accounting_server import AccountingServer, Pending
from evertunnel.servers.listening import Listening
from evertunnel.servers.logins import Reply
from evertunnel.storage.store import Store

_RECEIVE_BYTES = 4096 + 1
_PACKETS_AT_ONCE = 128
_KERNEL_BUFFER_BYTES = 4 * 1024 * 1024
_LOOK_EVERY_SECONDS = 60.0
_SILENCE = timedelta(seconds=3 * ACCOUNTING_INTERVAL_SECONDS)

log = structlog.get_logger()


class AccountingPort:
    """One UDP socket. The loop of the RADIUS process calls `take_turn`."""

    def __init__(self, listener: socket.socket, server: AccountingServer, store: Store) -> None:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER_BYTES)
        self._socket = listener
        self._server = server
        self._store = store
        self._listening = Listening()
        self._look_at = 0.0

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def take_turn(self) -> None:
        """Store and answer what came, and look for sessions that went silent, if that is due."""
        waiting: list[Pending] = []
        for _ in range(_PACKETS_AT_ONCE):
            try:
                data, source = self._socket.recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            match self._server.receive(data, source, now=clock.now(), uptime=time.monotonic()):
                case Reply() as reply:
                    self._send(reply)
                case Pending() as pending:
                    waiting.append(pending)
        if waiting:
            for reply in self._server.commit(waiting, clock.now()):
                self._send(reply)
        uptime = time.monotonic()
        if uptime >= self._look_at:
            self._look_at = uptime + _LOOK_EVERY_SECONDS
            self._look_for_silence(uptime)

    def _look_for_silence(self, uptime: float) -> None:
        if dropped := self._server.take_dropped():
            log.warning("accounting packets dropped", **dropped)
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

    def _send(self, reply: Reply) -> None:
        try:
            self._socket.sendto(reply.data, reply.destination)
        except OSError as error:
            log.warning("cannot send", destination=reply.destination[0], error=str(error))
