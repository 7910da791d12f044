"""Logins of several clients at once, each with what it said and what the server heard in each conversation."""

import ssl
import struct
from dataclasses import dataclass, field
from pathlib import Path

from OpenSSL import SSL

from tests.peers.eap_tls import RESPONSE, TLS, Client, NotAcknowledgedError, build_response
from tests.peers.peap import MSCHAPV2, PEAP, InnerTLS, MSCHAPv2Client, PEAPClient
from tests.peers.peap import RESPONSE as PROOF
from tests.peers.tls_keys import compute_msk

_START = bytes((1, 0, 0, 5, 1))
_HANDSHAKE, _APPLICATION = 22, 23
# Of an MS-CHAPv2 response: the EAP header with its type, and what follows up to what is proven and by whom.
_PROOF_AT, _VALUE_AT = 5, 10
_CHALLENGE_BYTES, _RESERVED_BYTES, _RESPONSE_BYTES = 16, 8, 24
Records = list[tuple[int, bytes]]
AnyClient = Client | PEAPClient | MSCHAPv2Client


@dataclass
class Talk:
    """One client: what it would say next, and all it said. Asked twice it says the same."""

    client: AnyClient
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
            except (
                AssertionError, NotAcknowledgedError, ValueError, IndexError, KeyError, struct.error, ssl.SSLError,
                SSL.Error,
            ):  # fmt: skip
                # An earlier lie made the server say what no client of this kind expects: it gives up.
                self._next = build_response(self.asked[1] if len(self.asked) > 1 else 0, TLS, b"\0")
            self.said.append(self._next)
        return self._next

    def hear(self, asked: bytes, state: bytes | None) -> None:
        """The server's next question."""
        self.asked, self.state, self._next = asked, state, None

    def compute_msk(self) -> bytes:
        """The keys of this client's own login, b"" where it has none."""
        match self.client:
            case PEAPClient(keys=keys):
                return keys
            case MSCHAPv2Client(inner=inner):
                return inner.key
            case Client(handshake_done=True):
                return compute_msk(self.client, self.keylog)
        return b""

    def is_done(self) -> bool:
        """Whether the client on its side has seen all that it has to."""
        match self.client:
            case PEAPClient(result=result, keys=keys):
                return result == 1 and bool(keys)
            case MSCHAPv2Client(inner=inner):
                return bool(inner.last_response)  # the rest of it is nothing that a key stands for
            case Client(done=done):
                return done
        return False

    def was_heard_whole(self, heard: list[bytes]) -> bool:
        """Whether these messages have all that proves the client's key or password, as it was said."""
        if isinstance(self.client, MSCHAPv2Client):
            # The last counts: a bent one before may be tried again.
            return _list_proofs(heard)[-1:] == _list_proofs(self.said)[-1:] != []
        return list_records(heard) == list_records(self.said)

    def read_secrets(self) -> list[bytes]:
        """What its TLS would not have anybody read, in hexadecimal, and the keys of its method."""
        match self.client:
            case PEAPClient(tls=tls, inner=InnerTLS(tls=inner)):
                return [*tls.secrets, *inner.secrets]
            case PEAPClient(tls=tls, inner=inner):
                return [*tls.secrets, *([inner.key.hex().encode()] if inner.key else [])]
            case MSCHAPv2Client(inner=inner):
                return [inner.key.hex().encode()] if inner.key else []
        lines = self.keylog.read_bytes().split(b"\n") if self.keylog.exists() else []
        return [parts[2] for line in lines if len(parts := line.split()) == 3 and not line.startswith(b"#")]


def list_records(messages: list[bytes]) -> Records:
    """The handshake and application records in responses of EAP-TLS and PEAP: what TLS itself vouches for.

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
    if len(message) < 6 or message[0] != RESPONSE or message[4] not in (TLS, PEAP):
        return b""
    return message[10:] if message[5] & 0x80 else message[6:]


def _list_proofs(messages: list[bytes]) -> list[bytes]:
    """The peer's challenge, its response and the name, of each MS-CHAPv2 response; nothing stands for the flags."""
    proofs = []
    for message in messages:
        if message[:1] == bytes((RESPONSE,)) and message[4 : _PROOF_AT + 1] == bytes((MSCHAPV2, PROOF)):
            value = message[_VALUE_AT:]
            end = _CHALLENGE_BYTES + _RESERVED_BYTES + _RESPONSE_BYTES
            proofs.append(value[:end] + value[end + 1 :])
    return proofs
