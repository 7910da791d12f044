"""The gate as strongSwan on this host asks it: on loopback, under a path nobody can guess, answered by the server only.

No answer in time, and none can be given here, is 503: strongSwan refuses the device (`revocation = strict`).
"""

import hmac
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from evertunnel.errors import UnavailableError

_REQUEST_BYTES = 8192
_AT_ONCE = 64
_SLOW_SECONDS = 5.0


class GateRelay(ThreadingHTTPServer):
    """`ask` puts an OCSP request to the server and returns its answer, or None."""

    daemon_threads = True

    def __init__(self, port: int, path: str, ask: Callable[[bytes], bytes | None]) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UnavailableError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
        self.path = path
        self.ask = ask
        self.room = threading.Semaphore(_AT_ONCE)

    @property
    def url(self) -> str:
        """What strongSwan is told."""
        return f"http://127.0.0.1:{self.server_port}/{self.path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked hung up; the default prints a traceback to standard error."""


class _Handler(BaseHTTPRequestHandler):
    server: GateRelay
    timeout = _SLOW_SECONDS

    def do_POST(self) -> None:
        if not hmac.compare_digest(self.path.encode("utf-8", "replace"), f"/{self.server.path}".encode()):
            self._answer(404)
            return
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,5}", length, re.ASCII) or not 0 < int(length) <= _REQUEST_BYTES:
            self._answer(413)
            return
        request = self.rfile.read(int(length))
        if not self.server.room.acquire(blocking=False):
            self._answer(503)
            return
        try:
            answer = self.server.ask(request)
        finally:
            self.server.room.release()
        self._answer(200 if answer is not None else 503, answer or b"")

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/ocsp-response")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nothing: a path that is asked for is a secret."""
