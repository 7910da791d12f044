"""A gateway that takes Disconnect- and CoA-Requests, read and checked by pyrad."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from pyrad import packet as pyrad
from pyrad.dictionary import Dictionary

ERROR_CAUSE, USER_NAME, ACCT_SESSION_ID, SESSION_TIMEOUT, EVENT_TIMESTAMP, NAS_IDENTIFIER = 101, 1, 44, 27, 55, 32

# A request and its octets -> what to send back, as many as wanted.
Answer = Callable[[pyrad.CoAPacket, bytes], list[bytes]]


class DynamicGateway:
    """Listens on loopback. `requests` are those whose signatures were right; `forged` counts the others."""

    def __init__(self, secret: bytes, answer: Answer | None = None) -> None:
        self.secret = secret
        self.answer = answer or (lambda request, _data: [self.say(request, yes=True)])
        self.requests: list[pyrad.CoAPacket] = []
        self.octets: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        self.forged = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.port: int = self.socket.getsockname()[1]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def say(self, request: pyrad.CoAPacket, *, yes: bool, cause: int | None = None, signed: bool = False) -> bytes:
        """An answer that is right."""
        reply = request.CreateReply()
        reply.dict = Dictionary()
        reply.code = {True: {40: 41, 43: 44}, False: {40: 42, 43: 45}}[yes][request.code]
        if cause is not None:
            reply[ERROR_CAUSE] = [cause.to_bytes(4, "big")]
        if signed:
            reply.add_message_authenticator()
        return bytes(reply.ReplyPacket())

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self.socket.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                data, source = self.socket.recvfrom(4096)
                self.sources.append(source)
                request = pyrad.CoAPacket(secret=self.secret, dict=Dictionary(), packet=data)
                if not (request.VerifyCoARequest() and request.verify_message_authenticator()):
                    self.forged += 1
                    continue
                self.requests.append(request)
                self.octets.append(data)
                for reply in self.answer(request, data):
                    self.socket.sendto(reply, source)
