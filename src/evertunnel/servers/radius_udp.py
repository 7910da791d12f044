"""The RADIUS process: takes what packets wait, answers what can be answered, commits what ended, answers that.

One thread. While a commit runs, packets wait in the kernel, and all that came meanwhile share the next commit: the
slower the disk, the larger the batch. Two threads cost more in handing over than the commit does.
"""

import select
import socket
import time

import structlog

from evertunnel import clock
from evertunnel.servers.accounting_udp import AccountingPort
from evertunnel.servers.logins import Reply, Verdict
from evertunnel.servers.policy_server import PolicyServer
from evertunnel.servers.recorder import Recorder

_RECEIVE_BYTES = 4096 + 1  # one more than RADIUS allows, to see that a datagram was too long
_PACKETS_AT_ONCE = 128
_KERNEL_BUFFER_BYTES = 4 * 1024 * 1024
_POLL_SECONDS = 0.02
_TRY_AGAIN_SECONDS = 1.0
_EXPIRE_EVERY_SECONDS = 1.0
_TELL_EVERY_SECONDS = 60.0

log = structlog.get_logger()


class RadiusProcess:
    """Serves one UDP socket, and the accounting port beside it, until told to stop."""

    def __init__(
        self,
        listener: socket.socket,
        server: PolicyServer,
        recorder: Recorder,
        accounting: AccountingPort | None = None,
    ) -> None:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER_BYTES)
        self._socket = listener
        self._server = server
        self._recorder = recorder
        self._accounting = accounting
        self._stopping = False
        self._follow_at = self._expire_at = self._tell_at = 0.0

    def stop(self) -> None:
        """End after the packets in hand. Safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Serve until stopped."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if self._accounting is not None:
            poll.register(self._accounting, select.POLLIN)
        while not self._stopping:
            poll.poll(_POLL_SECONDS * 1000)
            verdicts = self._receive()
            verdicts += self._do_rounds()
            if verdicts:
                for reply in self._recorder.commit(verdicts, clock.now()):
                    self._send(reply)
            if self._accounting is not None:
                self._accounting.take_turn()  # after the logins: who waits to come in goes first

    def _receive(self) -> list[Verdict]:
        """Take the packets that wait. Replies that need no record leave at once."""
        verdicts: list[Verdict] = []
        for _ in range(_PACKETS_AT_ONCE):
            try:
                data, source = self._socket.recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            match self._server.receive(data, source, now=clock.now(), uptime=time.monotonic()):
                case Reply(vouches=True) if not self._recorder.can_record(time.monotonic()):
                    pass
                case Reply() as reply:
                    self._send(reply)
                case Verdict() as verdict:
                    verdicts.append(verdict)
        return verdicts

    def _do_rounds(self) -> list[Verdict]:
        """What is due from time to time: follow the database, end logins that went silent, tell what was dropped."""
        uptime = time.monotonic()
        if uptime >= self._follow_at:
            self._follow_at = uptime + (_POLL_SECONDS if self._recorder.follow() else _TRY_AGAIN_SECONDS)
        if uptime >= self._tell_at:
            self._tell_at = uptime + _TELL_EVERY_SECONDS
            if dropped := self._server.take_dropped():
                log.warning("packets dropped", **dropped)
            if unrecorded := self._recorder.take_unrecorded():
                log.warning("refusals of strangers not recorded", **unrecorded)
        if uptime < self._expire_at:
            return []
        self._expire_at = uptime + _EXPIRE_EVERY_SECONDS
        return self._server.expire(uptime)

    def _send(self, reply: Reply) -> None:
        """The network may lose it, so a failure is the same as loss."""
        try:
            self._socket.sendto(reply.data, reply.destination)
        except OSError as error:
            log.warning("cannot send", destination=reply.destination[0], error=str(error))
