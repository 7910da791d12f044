"""PEAP version 0 as Windows speaks it ([MS-PEAP]), the server's side, in TLS 1.2 and TLS 1.3 (RFC 9427).

peer                                   we
     <-- start, version 0 --
ClientHello -->                                WAITING_FOR_CLIENT_HELLO
     <-- ServerHello .. --                     WAITING_FOR_HANDSHAKE
.. Finished -->
     <-- 1.2: our Finished --                  WAITING_FOR_TUNNEL
empty -->
     <-- who are you --                        WAITING_FOR_INNER
     .. an EAP conversation of its own ..
     (inner proof: the caller decides)         WAITING_FOR_DECISION
     .. the end of it ..                       WAITING_FOR_INNER
     <-- result, crypto-binding --             WAITING_FOR_RESULT
result, crypto-binding -->
     (keys, or failure)

Inner EAP goes without its header of four octets, both ways, except for the extensions method that carries the result.
"""

import struct
from collections.abc import Callable
from enum import Enum, auto

from evertunnel.protocols.eap import peap_keys
from evertunnel.protocols.eap.conversation import (
    Accepted,
    Challenge,
    Conversation,
    DecisionDue,
    Refused,
    ResumptionDue,
    Turn,
)
from evertunnel.protocols.eap.fragments import START, IncomingMessage, OutgoingMessage
from evertunnel.protocols.eap.methods.progress import (
    AnyFailure,
    AnyPeer,
    Ask,
    Failed,
    Finished,
    MethodFailure,
    Progress,
    Proven,
)
from evertunnel.protocols.eap.methods.tls import TOO_LONG
from evertunnel.protocols.eap.packet import Code, EAPError, Type, encode_request
from evertunnel.protocols.eap.peap_results import SUCCESS, Results, build_result, decode_results
from evertunnel.protocols.eap.stage import Stage
from evertunnel.protocols.eap.tls_server import TLS_12, TLSError, TLSParameters
from evertunnel.protocols.eap.tls_tunnel import Tunnel, TunnelContext

_HANDSHAKE_RECORD, _CLIENT_HELLO = 0x16, 0x01
_VERSION_MASK = 0x03
_HEADER = struct.Struct("!BBH")
# What TLS puts around a record of ours at most (header, explicit nonce, tag), the flags and length of a fragment
# around that, and the type before inner data: an inner packet that leaves room for all of it needs no second fragment.
_OUTER_BYTES = 29 + 5 + 1
_INNER_BYTES_AT_LEAST = 30
_ACKNOWLEDGEMENT = Ask(b"\x00")


class State(Enum):
    """What the method waits for."""

    WAITING_FOR_CLIENT_HELLO = auto()
    WAITING_FOR_HANDSHAKE = auto()
    WAITING_FOR_TUNNEL = auto()
    WAITING_FOR_INNER = auto()
    WAITING_FOR_DECISION = auto()
    WAITING_FOR_RESULT = auto()
    WAITING_FOR_END = auto()
    FINISHED = auto()


def bound_inner_packet(packet_bytes: int) -> int:
    """The octets of an inner method's data that go into one outer packet of so many."""
    return max(packet_bytes - _OUTER_BYTES, _INNER_BYTES_AT_LEAST)


class PEAP:
    """One peer's run of the method."""

    __slots__ = (
        "_binding_required", "_context", "_decided", "_identifier", "_incoming", "_inner", "_inner_asked",
        "_intermediate_key", "_mac_key", "_new_nonce", "_outgoing", "_packet_bytes", "_peer", "_tunnel", "_version",
        "failed", "state", "tls_parameters",
    )  # fmt: skip
    type = Type.PEAP

    def __init__(
        self,
        context: TunnelContext,
        inner: Conversation,
        *,
        identifier: int,
        packet_bytes: int,
        new_nonce: Callable[[int], bytes],
    ) -> None:
        """`inner` is the conversation inside; `identifier` that of the first request, each later one has the next."""
        self._context = context
        self._inner = inner
        self._identifier = identifier
        self._packet_bytes = packet_bytes
        self._new_nonce = new_nonce
        self._incoming = IncomingMessage()
        self._outgoing: OutgoingMessage | None = None
        self._tunnel: Tunnel | None = None
        self._inner_asked = 0
        self._version = ""
        self.tls_parameters: TLSParameters | None = None
        self._binding_required = True
        self._decided = False
        self._peer: AnyPeer | None = None
        self._mac_key = self._intermediate_key = b""
        self.failed: Failed | None = None
        self.state = State.WAITING_FOR_CLIENT_HELLO

    @property
    def name(self) -> str:
        """With the method inside, as soon as that is known."""
        return f"peap-{self._inner.method_name}" if self._inner.method_name else "peap"

    @property
    def inner_identity(self) -> str | None:
        """Who the peer says it is, where nobody else hears it."""
        return self._inner.identity

    @property
    def stage(self) -> Stage:
        """How far the peer came."""
        if self._tunnel is None:
            began = self.state is State.WAITING_FOR_CLIENT_HELLO and self._incoming.began
            return Stage.CLIENT_HELLO if began else Stage.NOTHING
        answering = self.state is not State.WAITING_FOR_HANDSHAKE or self._incoming.began
        return Stage.ANSWERING if answering else Stage.CLIENT_HELLO

    def describe(self) -> tuple[str, ...]:
        """What is known of it, for the record."""
        words = ["PEAP"]
        if self._version:
            words.append(f"{self._version}: the tunnel is up")
        if self._inner.identity:
            words.append(f"inside it the client calls itself {self._inner.identity!r}")
        if self._inner.method_name:
            words.append(f"inner method {self._inner.method_name}")
        return (*words, *self._inner.describe())

    @property
    def may_be_refused(self) -> bool:
        """Whether the peer may still ask for another method."""
        return self.state is State.WAITING_FOR_CLIENT_HELLO

    def start(self) -> Ask:
        """The first request: version 0 is what we speak."""
        return Ask(bytes((START,)))

    def receive(self, data: bytes) -> Progress:
        """Take the data of one response. Raises EAPError when the peer may not send that now."""
        self._identifier = (self._identifier + 1) & 0xFF
        if data and data[0] & _VERSION_MASK:
            raise EAPError(f"the client speaks PEAP version {data[0] & _VERSION_MASK} and we offered version 0")
        message = self._incoming.add(data)
        if self._outgoing is not None and not self._outgoing.finished:
            if message != b"":
                raise EAPError("data came before all fragments of ours were acknowledged")
            return Ask(self._outgoing.next_fragment())
        if message is None:
            if self.state is State.WAITING_FOR_END:
                raise EAPError(TOO_LONG)
            return _ACKNOWLEDGEMENT
        try:
            return self._receive_message(message)
        except TLSError as error:
            self._tunnel = None
            return self._fail(error.failure, error.detail, error.alert)

    def resume(self, *, granted: bool) -> Progress:  # noqa: ARG002
        """Nothing is ever resumed."""
        raise EAPError("no session is to be resumed")

    def accept(self, *, binding_required: bool = True) -> Progress:
        """The decision was yes: go on with the inner method, and then demand the binding."""
        if self.state is not State.WAITING_FOR_DECISION:
            raise EAPError(f"no decision is due while {self.state.name.lower().replace('_', ' ')}")
        self._binding_required = binding_required
        self.state = State.WAITING_FOR_INNER
        return self._advance(self._inner.accept())

    def refuse(self, detail: str) -> Progress:
        """The decision was no: the inner method says so first."""
        if self.state is not State.WAITING_FOR_DECISION:
            raise EAPError(f"no decision is due while {self.state.name.lower().replace('_', ' ')}")
        self.state = State.WAITING_FOR_INNER
        return self._advance(self._inner.refuse(detail))

    def _receive_message(self, message: bytes) -> Progress:
        match self.state:
            case State.WAITING_FOR_CLIENT_HELLO:
                return self._receive_client_hello(message)
            case State.WAITING_FOR_HANDSHAKE:
                return self._receive_handshake(message)
            case State.WAITING_FOR_TUNNEL:
                if message:
                    self._decrypt(message)  # its alert, if it is one
                    raise EAPError("the client spoke inside its tunnel before it was asked")
                return self._ask_identity()
            case State.WAITING_FOR_INNER:
                return self._receive_inner(self._decrypt(message))
            case State.WAITING_FOR_RESULT:
                return self._receive_result(self._decrypt(message))
            case State.WAITING_FOR_END:
                self.state = State.FINISHED
                assert self.failed is not None
                return self.failed
        raise EAPError(f"nothing may be sent while {self.state.name.lower().replace('_', ' ')}")

    def _receive_client_hello(self, message: bytes) -> Progress:
        if len(message) < 6 or message[0] != _HANDSHAKE_RECORD or message[5] != _CLIENT_HELLO:
            raise EAPError("the first TLS message is not a ClientHello")
        self._tunnel = self._context.new_tunnel()
        self.state = State.WAITING_FOR_HANDSHAKE
        return self._receive_handshake(message)

    def _receive_handshake(self, message: bytes) -> Progress:
        assert self._tunnel is not None
        if not message:
            raise EAPError("an empty answer while a TLS message is due")
        flight = self._tunnel.receive(message)
        self._version = self._tunnel.version
        self.tls_parameters = self._tunnel.find_parameters()
        if self._tunnel.version in ("", TLS_12):
            self.state = State.WAITING_FOR_TUNNEL if self._tunnel.version else State.WAITING_FOR_HANDSHAKE
            return self._send(flight)
        # TLS 1.3: the client has nothing more to hear of the handshake, and our question is what tells it so.
        return self._ask_identity(before=flight)

    def _ask_identity(self, before: bytes = b"") -> Ask:
        self.state = State.WAITING_FOR_INNER
        return self._send_inner(self._inner.start(), before)

    def _receive_inner(self, plain: bytes) -> Progress:
        return self._advance(self._inner.receive(self._restore_header(plain)))

    def _restore_header(self, plain: bytes) -> bytes:
        """The inner response with its header. Some clients leave it on when they say who they are."""
        if len(plain) > _HEADER.size:
            code, _identifier, length = _HEADER.unpack_from(plain)
            if code == Code.RESPONSE and length == len(plain):  # without its header it would be a Notification
                plain = plain[_HEADER.size :]
        return _HEADER.pack(Code.RESPONSE, self._inner_asked, _HEADER.size + len(plain)) + plain

    def _advance(self, turn: Turn) -> Progress:
        match turn:
            case Challenge():
                self.failed = self._inner.failed
                return self._send_inner(turn)
            case DecisionDue(peer):
                self.state = State.WAITING_FOR_DECISION
                self._decided = True
                return Proven(peer)
            case ResumptionDue():  # a ticket knows nothing of a tunnel
                return self._advance(self._inner.resume(granted=False))
            case Accepted(_, peer, inner_key, _):
                return self._ask_result(peer, inner_key)
            case Refused(_, failed):
                return self._refuse_result(failed)

    def _ask_result(self, peer: AnyPeer, inner_key: bytes) -> Ask:
        """The inner method is complete: offer success, bound to this tunnel."""
        assert self._tunnel is not None
        if not self._decided:
            raise EAPError("the inner method ended before anything was decided")
        self._peer = peer
        tunnel_key = self._tunnel.derive_key(self.type)
        self._intermediate_key, self._mac_key = peap_keys.derive_compound_keys(tunnel_key, inner_key)
        binding = peap_keys.build_binding(self._mac_key, self._new_nonce(peap_keys.NONCE_BYTES))
        self.state = State.WAITING_FOR_RESULT
        return self._send_extensions(build_result(success=True) + binding)

    def _refuse_result(self, failed: Failed) -> Ask:
        self.failed = failed
        self.state = State.WAITING_FOR_END
        ask = self._send_extensions(build_result(success=False))
        self._tunnel = None  # whatever is answered, it is over; the tunnel weighs 50 kB and more
        return ask

    def _receive_result(self, plain: bytes) -> Progress:
        assert self._tunnel is not None
        assert self._peer is not None
        results = self._decode_results(plain)
        if results.result != SUCCESS:
            return self._fail(MethodFailure.CLIENT_REFUSED, "the client did not take our result", b"")
        if results.binding is None:
            if self._binding_required:
                return self._fail(MethodFailure.BINDING_MISSING, MethodFailure.BINDING_MISSING.value, b"")
            key = self._tunnel.derive_key(self.type)
        elif not peap_keys.is_binding_right(self._mac_key, results.binding):
            return self._fail(MethodFailure.BINDING_WRONG, MethodFailure.BINDING_WRONG.value, b"")
        else:
            key = peap_keys.derive_master_session_key(self._intermediate_key)
        self.state = State.FINISHED
        return Finished(self._peer, key, bound=results.binding is not None)

    def _decode_results(self, plain: bytes) -> Results:
        if len(plain) < _HEADER.size + 1:
            raise EAPError("an inner answer without a result")
        code, _identifier, length = _HEADER.unpack_from(plain)
        if (code, length, plain[_HEADER.size]) != (Code.RESPONSE, len(plain), Type.EXTENSIONS):
            raise EAPError("an inner answer that is no result")
        return decode_results(plain[_HEADER.size + 1 :])

    def _decrypt(self, message: bytes) -> bytes:
        assert self._tunnel is not None
        plain = self._tunnel.decrypt(message) if message else b""
        if not plain:
            raise EAPError("the client said nothing inside its tunnel")
        return plain

    def _fail(self, failure: AnyFailure, detail: str, alert: bytes) -> Ask | Failed:
        self.failed = Failed(failure, detail, None)
        if not alert:
            self.state = State.FINISHED
            return self.failed
        self.state = State.WAITING_FOR_END
        return self._send(alert)

    def _send_inner(self, challenge: Challenge, before: bytes = b"") -> Ask:
        assert self._tunnel is not None
        self._inner_asked = challenge.eap_message[1]
        return self._send(before + self._tunnel.encrypt(challenge.eap_message[_HEADER.size :]))

    def _send_extensions(self, data: bytes) -> Ask:
        """The one inner method with a header of its own, which is that of the packet around it."""
        assert self._tunnel is not None
        return self._send(self._tunnel.encrypt(encode_request(self._identifier, Type.EXTENSIONS, data)))

    def _send(self, message: bytes) -> Ask:
        self._outgoing = OutgoingMessage(message, packet_bytes=self._packet_bytes)
        return Ask(self._outgoing.next_fragment())
