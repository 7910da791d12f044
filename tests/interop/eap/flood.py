"""A gateway without manners: thousands of conversations at once, over one socket, without waiting for any of them."""

import os
import socket
import struct
from collections.abc import Iterable, Iterator

from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, build_response

_IN_FLIGHT = 64
_IDENTITY = build_response(0, IDENTITY, b"mallory@corp.example")


class Flood:
    """Opens conversations and leaves them open. `answered` counts what the server said."""

    def __init__(self, port: int, secret: bytes, *, patience_seconds: float = 10.0) -> None:
        self._secret = secret
        self._own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._own.bind(("127.0.0.1", 0))
        self._own.connect(("127.0.0.1", port))
        self._own.settimeout(patience_seconds)
        self.answered = 0

    def close(self) -> None:
        self._own.close()

    def build(self, eap: bytes, state: bytes = b"") -> bytes:
        """An Access-Request with a right signature."""
        attributes = [*radius.split_eap(eap), *([(radius.STATE, state)] if state else [])]
        return radius.sign(self._secret, radius.encode_attributes(attributes), authenticator=os.urandom(16))

    def open(self, count: int) -> None:
        """Conversations that say who they are and nothing more."""
        for _ in self._exchange(self.build(_IDENTITY) for _ in range(count)):
            pass

    def open_with_hello(self, count: int, hello: bytes) -> None:
        """Conversations that send a ClientHello, an EAP-Response, and nothing more."""
        for _ in range(0, count, _IN_FLIGHT):
            started = self._exchange(self.build(_IDENTITY) for _ in range(_IN_FLIGHT))
            hellos = [self.build(hello[:1] + eap[1:2] + hello[2:], state) for state, eap in started]
            for _ in self._exchange(hellos):
                pass

    def blast(self, packets: Iterable[bytes]) -> None:
        """Send without reading an answer."""
        for packet in packets:
            self._own.send(packet)

    def _exchange(self, requests: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """State and EAP of each answer, at most so many requests ahead of them."""
        waiting = 0
        for request in requests:
            if waiting == _IN_FLIGHT:
                yield self._receive()
                waiting -= 1
            self._own.send(request)
            waiting += 1
        for _ in range(waiting):
            yield self._receive()

    def _receive(self) -> tuple[bytes, bytes]:
        data = self._own.recv(4_096)
        self.answered += 1
        found: dict[int, bytes] = {}
        at = 20
        while at < len(data):
            number, size = struct.unpack_from("!BB", data, at)
            found[number] = found.get(number, b"") + data[at + 2 : at + size]
            at += size
        return found.get(radius.STATE, b""), found.get(radius.EAP_MESSAGE, b"")
