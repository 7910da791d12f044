"""Logins of several clients at once, each with what it said and what the server heard in each conversation."""

import ssl
import struct
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.eap_tls import RESPONSE, TLS, Client, NotAcknowledgedError, build_response
from tests.peers.tls_keys import compute_msk

_START = bytes((1, 0, 0, 5, 1))
_HANDSHAKE, _APPLICATION = 22, 23
Records = list[tuple[int, bytes]]


@dataclass
class Talk:
    """One client: what it would say next, and all it said. Asked twice it says the same."""

    client: Client
    keylog: Path
    asked: bytes = _START
    state: bytes | None = None
    said: list[bytes] = field(default_factory=list)
    ended: bool = False
    _next: bytes | None = None

    @property
    def next_message(self) -> bytes:
        """The honest answer to what the server asked last."""
        if self._next is None:
            try:
                self._next = self.client.answer(self.asked)
            except (AssertionError, NotAcknowledgedError, ValueError, IndexError, struct.error, ssl.SSLError):
                # An earlier lie made the server say what no client of this kind expects: it gives up.
                self._next = build_response(self.asked[1] if len(self.asked) > 1 else 0, TLS, b"\0")
            self.said.append(self._next)
        return self._next

    def hear(self, asked: bytes, state: bytes | None) -> None:
        """The server's next question."""
        self.asked, self.state, self._next = asked, state, None

    def compute_msk(self) -> bytes:
        """The keys of this client's own handshake, b"" where it has none."""
        if not self.client.handshake_done:
            return b""
        return compute_msk(self.client, self.keylog)

    def read_secrets(self) -> list[bytes]:
        """What its TLS would not have anybody read."""
        lines = self.keylog.read_bytes().split(b"\n")
        return [parts[2] for line in lines if len(parts := line.split()) == 3 and not line.startswith(b"#")]


def list_records(messages: list[bytes]) -> Records:
    """The handshake and application records in EAP-TLS responses: what TLS itself vouches for.

    The version in a record's header and ChangeCipherSpec mean nothing to it (RFC 8446 5).
    """
    stream = b"".join(_find_tls(message) for message in messages)
    records = []
    while len(stream) >= 5:
        kind, _, length = struct.unpack("!BHH", stream[:5])
        if kind in (_HANDSHAKE, _APPLICATION):
            records.append((kind, stream[5 : 5 + length]))
        stream = stream[5 + length :]
    return records


def _find_tls(message: bytes) -> bytes:
    if len(message) < 6 or message[0] != RESPONSE or message[4] != TLS:
        return b""
    return message[10:] if message[5] & 0x80 else message[6:]
