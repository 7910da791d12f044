"""TLS over a socket that one thread reads while others write, and that no peer can keep waiting for ever.

The `ssl` module's own sockets may not be read and written at the same time. Here OpenSSL works on memory under a lock,
and the socket itself is never waited for longer than a moment that was given.
"""

import contextlib
import select
import socket
import ssl
import threading
import time

_PIECE_BYTES = 64 * 1024
# Unsent data of a peer that takes nothing any more: a link that was cut shows so within this time.
_UNACKNOWLEDGED_MS = 3_000


class PipeClosedError(Exception):
    """The connection is over: hung up, broken, or too slow. The text says which."""


class TLSPipe:
    """One connection. `receive` belongs to one thread; everybody may `send` and `close`."""

    def __init__(
        self, connection: socket.socket, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # not a TCP socket, in tests
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
        self._socket = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self._lock = threading.Lock()
        self._closed = False

    def shake_hands(self, within_seconds: float) -> None:
        """Raises PipeClosedError: refused, not finished in time, or hung up."""
        deadline = time.monotonic() + within_seconds
        while True:
            with self._lock:
                try:
                    self._tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    done = False
                except ssl.SSLError as error:
                    with contextlib.suppress(PipeClosedError):
                        self._flush(deadline)  # the alert that says why
                    raise PipeClosedError(f"TLS: {explain_tls(error)}") from error
                self._flush(deadline)
            if done:
                return
            if not self._fill(deadline - time.monotonic()):
                raise PipeClosedError("the TLS handshake was not finished in time")

    def get_peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, which was verified; None when it showed none."""
        return self._tls.getpeercert(binary_form=True)

    def get_protocol(self) -> str | None:
        """What both ends agreed on by ALPN; None when one of them knows nothing of it."""
        return self._tls.selected_alpn_protocol()

    def send(self, data: bytes, within_seconds: float = 5.0) -> None:
        """Send all of it. Raises PipeClosedError; then nothing more can be sent."""
        deadline = time.monotonic() + within_seconds
        if not self._lock.acquire(timeout=within_seconds):
            raise PipeClosedError("the peer takes nothing")
        try:
            self._tls.write(data)
            self._flush(deadline)
        except ssl.SSLError as error:
            raise PipeClosedError(f"TLS: {explain_tls(error)}") from error
        finally:
            self._lock.release()

    def receive(self, timeout_seconds: float) -> bytes:
        """What came; empty when nothing did within the time. Raises PipeClosedError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            with self._lock:
                try:
                    if data := self._tls.read(_PIECE_BYTES):
                        return data
                    raise PipeClosedError("the peer hung up")
                except ssl.SSLWantReadError:
                    self._flush(time.monotonic() + 1)  # an answer to a key update
                except ssl.SSLZeroReturnError:
                    raise PipeClosedError("the peer hung up") from None
                except ssl.SSLError as error:
                    raise PipeClosedError(f"TLS: {explain_tls(error)}") from error
            if not self._fill(deadline - time.monotonic()):
                return b""

    def close(self) -> None:
        """Hang up; wakes whoever waits."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Let go of the socket: by the thread that receives, which nobody else waits with."""
        self.close()
        self._socket.close()

    def _fill(self, seconds: float) -> bool:
        """Wait for bytes and hand them to TLS. False: none came in time."""
        if self._closed:
            raise PipeClosedError("the connection was closed")
        try:
            if not self._wait(select.POLLIN, seconds):
                return False
            data = self._socket.recv(_PIECE_BYTES)
        except BlockingIOError:
            return True
        except (OSError, ValueError) as error:
            raise PipeClosedError(getattr(error, "strerror", None) or "the connection was closed") from error
        if not data:
            raise PipeClosedError("the peer hung up")
        self._incoming.write(data)
        return True

    def _flush(self, deadline: float) -> None:
        """Under the lock: send what TLS wants sent."""
        waiting = memoryview(self._outgoing.read())
        while waiting:
            try:
                waiting = waiting[self._socket.send(waiting) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, deadline - time.monotonic()):
                    self.close()  # half a record was sent: nothing after it makes sense
                    raise PipeClosedError("the peer takes nothing") from None
            except (OSError, ValueError) as error:
                raise PipeClosedError(getattr(error, "strerror", None) or "the connection was closed") from error

    def _wait(self, what: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, what)
        return bool(poll.poll(max(0.0, seconds) * 1000))


def explain_tls(error: ssl.SSLError) -> str:
    """Why, in OpenSSL's words and without its source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {error.verify_message}"
    return (error.reason or str(error)).lower().replace("_", " ")
