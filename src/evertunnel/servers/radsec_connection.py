"""One RadSec connection: its octets, what it may still keep us waiting for, and when it is over."""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from evertunnel.protocols.radius.packet import PacketError
from evertunnel.protocols.radius.stream import Examined, PacketStream
from evertunnel.servers.radsec_directory import Client
from evertunnel.servers.radsec_tls import RadSecContext, RadSecTLS, TLSClosedError

HANDSHAKE_SECONDS = 10.0
# A packet that was begun, and answers that wait to be taken.
PARTIAL_SECONDS = 10.0
STUCK_SECONDS = 10.0
# Without any packet. A client that wants to stay sends Status-Server; every other dials again.
IDLE_SECONDS = 600.0
# Packets of one connection that workers have: else one gateway fills what all share.
IN_HAND_AT_MOST = 64
_IN_HAND_SECONDS = 2.0
_READ_BYTES = 16 * 1024
# More than this unsent, and nothing more is read; more than that, and it is over.
_UNSENT_BYTES, _UNSENT_AT_MOST_BYTES = 64 * 1024, 512 * 1024
_HANDSHAKE_AT_MOST_BYTES = 64 * 1024
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


class ConnectionOverError(Exception):
    """Close it. The text says why; `is_fault` whether it is worth a line in the log."""

    def __init__(self, text: str, *, is_fault: bool = True) -> None:
        super().__init__(text)
        self.is_fault = is_fault


class RadSecConnection:
    """`client` is set once its certificate proved who it is. One thread serves it.

    `source` is the address it comes from, `caller` whom that stands for until then.
    """

    def __init__(self, connection: socket.socket, source: str, caller: str, number: int, uptime: float) -> None:
        connection.setblocking(False)
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self.socket = connection
        self.source = source
        self.caller = caller
        self.number = number
        self.client: Client | None = None
        self.waiting: deque[tuple[bytes, Examined]] = deque()  # packets that no worker could take yet
        self._asked: deque[float] = deque()
        self._tls: RadSecTLS | None = None
        self._stream = PacketStream()
        self._unsent = bytearray()
        self._came_bytes = 0
        self._began_at = self.last_packet_at = uptime
        self._inside_since: float | None = None
        self._stuck_since: float | None = None

    @property
    def wants_to_read(self) -> bool:
        """Not while it leaves our answers where they are, or while workers are busy with what it sent."""
        return not self.waiting and self.may_ask

    @property
    def may_ask(self) -> bool:
        """Whether workers may be given one more packet of it."""
        return len(self._asked) < IN_HAND_AT_MOST and len(self._unsent) < _UNSENT_BYTES

    @property
    def wants_to_write(self) -> bool:
        """Whether something is unsent."""
        return bool(self._unsent)

    @property
    def version(self) -> str:
        """Of TLS."""
        return self._tls.version if self._tls is not None else ""

    def read(self, context: RadSecContext, find: Callable[[bytes], Client | None], uptime: float) -> list[bytes]:
        """Take what came, once; returns whole packets. Raises ConnectionOverError, MemoryError."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ConnectionOverError(error.strerror or str(error), is_fault=False) from error
        if not data:
            raise ConnectionOverError("the peer hung up", is_fault=self.client is None and self._tls is not None)
        if self._tls is None:
            self._tls = context.new_connection()  # only now: who says nothing costs a descriptor
        if not self._tls.is_open:
            self._came_bytes += len(data)
            if self._came_bytes > _HANDSHAKE_AT_MOST_BYTES:
                raise ConnectionOverError("its handshake has no end")
        try:
            octets = self._tls.receive(data)
        except TLSClosedError as error:
            raise ConnectionOverError(str(error), is_fault=self.client is None) from error
        finally:
            self._unsent += self._tls.take_outgoing()
            self.flush(uptime)
        if self._tls.is_open and self.client is None:
            assert self._tls.certificate_der is not None
            self.client = find(self._tls.certificate_der)
            if self.client is None:
                raise ConnectionOverError("its certificate was taken away in this moment")
        return self._cut(octets, uptime)

    def note_asked(self, uptime: float) -> None:
        """A worker has one more packet of it."""
        self._asked.append(uptime)

    def forget_asked(self, uptime: float) -> None:
        """Not every packet is answered."""
        while self._asked and uptime - self._asked[0] > _IN_HAND_SECONDS:
            self._asked.popleft()

    def _cut(self, octets: bytes, uptime: float) -> list[bytes]:
        packets = []
        self._stream.feed(octets)
        try:
            while (packet := self._stream.take()) is not None:
                packets.append(packet)
        except PacketError as error:
            raise ConnectionOverError(str(error)) from error
        if packets:
            self.last_packet_at = uptime
        # Of this packet, not of the first octets ever: a slow one is not a fast one's fault.
        if not self._stream.is_inside:
            self._inside_since = None
        elif self._inside_since is None or packets:
            self._inside_since = uptime
        return packets

    def send(self, data: bytes, uptime: float) -> None:
        """Answer. Raises ConnectionOverError."""
        assert self._tls is not None
        if self._asked:
            self._asked.popleft()
        try:
            self._tls.send(data)
        except TLSClosedError as error:
            raise ConnectionOverError(str(error)) from error
        self._unsent += self._tls.take_outgoing()
        if len(self._unsent) > _UNSENT_AT_MOST_BYTES:
            raise ConnectionOverError("it does not take our answers")
        self.flush(uptime)

    def flush(self, uptime: float) -> None:
        """Send what the network takes. What it takes back as broken shows at the next reading."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self._unsent.clear()
                break
            del self._unsent[:sent]
            self._stuck_since = None
        if not self._unsent:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = uptime

    def find_timeout(self, uptime: float) -> str:
        """Why it kept us waiting for too long; empty when it did not."""
        if self.client is None:
            late = uptime - self._began_at > HANDSHAKE_SECONDS
            return "the handshake was not finished in time" if late else ""
        if self._stuck_since is not None and uptime - self._stuck_since > STUCK_SECONDS:
            return "it does not take our answers"
        if self.wants_to_read and self._inside_since is not None and uptime - self._inside_since > PARTIAL_SECONDS:
            return "a packet was begun and not finished"
        return "nothing came for long" if uptime - self.last_packet_at > IDLE_SECONDS else ""

    def close(self) -> None:
        """Hang up, with a word of goodbye if there was a handshake."""
        if self._tls is not None and self._tls.is_open:
            self._tls.end()
            if not self._unsent:
                self._unsent += self._tls.take_outgoing()
                self.flush(0.0)
        self.socket.close()
