"""The RADIUS process: one thread takes packets from the socket, the recorder's thread commits and answers."""

import socket
import time

import structlog

from evertunnel import clock
from evertunnel.servers.logins import Reply, Verdict
from evertunnel.servers.policy_server import PolicyServer
from evertunnel.servers.recorder import Recorder

_RECEIVE_BYTES = 4096 + 1  # one more than RADIUS allows, to see that a datagram was too long
_BUFFER_BYTES = 8 * 1024 * 1024
_TICK_SECONDS = 1.0

log = structlog.get_logger()


class RadiusProcess:
    """Serves one UDP socket until told to stop."""

    def __init__(self, listener: socket.socket, server: PolicyServer) -> None:
        self._socket = listener
        # The kernel's default is full after some hundred packets; it gives what net.core.rmem_max allows.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.settimeout(_TICK_SECONDS)
        self._server = server
        self._stopping = False

    def stop(self) -> None:
        """End after the packet in hand. Safe to call from a signal handler."""
        self._stopping = True

    def send(self, reply: Reply) -> None:
        """Send a committed or harmless reply; the network may lose it, so a failure is the same as loss."""
        try:
            self._socket.sendto(reply.data, reply.destination)
        except OSError as error:
            log.warning("cannot send", destination=reply.destination[0], error=str(error))

    def run(self, recorder: Recorder) -> None:
        """Receive until stopped."""
        expired_at = time.monotonic()
        recorder.start()
        while not self._stopping:
            if not recorder.running:
                # Nobody would get an answer any more; whoever supervises us starts us anew.
                raise RuntimeError("the recorder ended")
            try:
                data, source = self._socket.recvfrom(_RECEIVE_BYTES)
            except TimeoutError:
                data = b""
            uptime = time.monotonic()
            if data:
                match self._server.receive(data, source, now=clock.now(), uptime=uptime):
                    case Reply() as reply:
                        self.send(reply)
                    case Verdict() as verdict:
                        recorder.put(verdict)
            if uptime - expired_at >= _TICK_SECONDS:
                expired_at = uptime
                for verdict in self._server.expire(uptime):
                    recorder.put(verdict)
        recorder.stop()
