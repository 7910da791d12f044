"""EAP-TLS, the server's side, in TLS 1.2 (RFC 5216) and TLS 1.3 (RFC 9190).

peer                       we
     <-- start --
ClientHello -->
     <-- ServerHello .. --           WAITING_FOR_HANDSHAKE
Certificate .. Finished -->
     (key proven: the caller decides) WAITING_FOR_DECISION
     <-- 1.2: our Finished
         1.3: one octet 0x00 --       WAITING_FOR_LAST_ANSWER
empty -->
     (keys, or failure)

With a ticket of a session that may be resumed (RFC 5216 2.1.2, RFC 9190 2.1.3):

ClientHello -->
     (the session's certificate: the caller decides) WAITING_FOR_RESUMPTION
     <-- ServerHello .. Finished --  WAITING_FOR_HANDSHAKE
Finished -->
     (the caller decides again)      WAITING_FOR_DECISION
     <-- 1.3 only: one octet 0x00 -- WAITING_FOR_LAST_ANSWER
"""

from enum import Enum, auto

from evertunnel.protocols.eap.fragments import START, IncomingMessage, OutgoingMessage
from evertunnel.protocols.eap.methods.progress import Ask, Failed, Finished, Progress, Proven, Resuming
from evertunnel.protocols.eap.packet import EAPError, Type
from evertunnel.protocols.eap.stage import Stage
from evertunnel.protocols.eap.tls_server import (
    TLS_12,
    Peer,
    TLSContext,
    TLSError,
    TLSFailure,
    TLSHandshake,
    TLSParameters,
    is_hello_retry,
)

_HANDSHAKE_RECORD, _CLIENT_HELLO = 0x16, 0x01


class State(Enum):
    """What the method waits for."""

    WAITING_FOR_CLIENT_HELLO = auto()
    WAITING_FOR_RESUMPTION = auto()
    WAITING_FOR_HANDSHAKE = auto()
    WAITING_FOR_DECISION = auto()
    WAITING_FOR_LAST_ANSWER = auto()
    WAITING_FOR_ALERT_ANSWER = auto()
    FINISHED = auto()


TOO_LONG = "the last answer is empty or an alert: it comes in one piece"
_ACKNOWLEDGEMENT = Ask(b"\x00")


class EAPTLS:
    """One peer's run of the method."""

    __slots__ = (
        "__weakref__", "_context", "_finished", "_flight", "_granted_der", "_handshake", "_hello", "_incoming",
        "_outgoing", "_packet_bytes", "failed", "state", "tls_parameters",
    )  # fmt: skip
    type = Type.TLS
    name = "eap-tls"
    inner_identity = None

    def __init__(self, context: TLSContext, *, packet_bytes: int) -> None:
        """`packet_bytes` bounds the EAP-TLS data of one request."""
        self._context = context
        self._packet_bytes = packet_bytes
        self._incoming = IncomingMessage()
        self._outgoing: OutgoingMessage | None = None
        self._handshake: TLSHandshake | None = None
        self._hello = self._flight = b""
        self._granted_der: bytes | None = None  # of the session that may be resumed
        self._finished: Finished | None = None
        self.failed: Failed | None = None  # set as soon as it is certain, before the peer was told
        self.state = State.WAITING_FOR_CLIENT_HELLO
        self.tls_parameters: TLSParameters | None = None

    @property
    def stage(self) -> Stage:
        """How far the peer came."""
        if self.failed is not None:
            return Stage.NOTHING
        match self.state:
            case State.WAITING_FOR_CLIENT_HELLO:
                return Stage.CLIENT_HELLO if self._incoming.began else Stage.NOTHING
            case State.WAITING_FOR_HANDSHAKE:
                return Stage.ANSWERING if self._incoming.began else Stage.CLIENT_HELLO
        return Stage.ENDING

    def describe(self) -> tuple[str, ...]:
        """Nothing: the caller hears of the peer itself."""
        return ()

    @property
    def may_be_refused(self) -> bool:
        """Whether the peer may still ask for another method."""
        return self.state is State.WAITING_FOR_CLIENT_HELLO

    def start(self) -> Ask:
        """The first request."""
        return Ask(bytes((START,)))

    def receive(self, data: bytes) -> Progress:
        """Take the data of one response. Raises EAPError when the peer may not send that now."""
        message = self._incoming.add(data)
        if self._outgoing is not None and not self._outgoing.finished:
            if message != b"":
                raise EAPError("data came before all fragments of ours were acknowledged")
            return Ask(self._outgoing.next_fragment())
        if message is None:
            if self.state in (State.WAITING_FOR_LAST_ANSWER, State.WAITING_FOR_ALERT_ANSWER):
                raise EAPError(TOO_LONG)  # thousands may wait here, for nothing of them weighs anything
            return _ACKNOWLEDGEMENT
        match self.state:
            case State.WAITING_FOR_CLIENT_HELLO:
                return self._receive_client_hello(message)
            case State.WAITING_FOR_HANDSHAKE:
                return self._receive_handshake(message)
            case State.WAITING_FOR_LAST_ANSWER:
                return self._receive_last_answer(message)
            case State.WAITING_FOR_ALERT_ANSWER:
                self.state = State.FINISHED
                assert self.failed is not None
                return self.failed
        raise EAPError(f"nothing may be sent while {self.state.name.lower().replace('_', ' ')}")

    def resume(self, *, granted: bool) -> Progress:
        """Go on with the session, or begin as if there were none: then the peer hears why, if it is refused."""
        if self.state is not State.WAITING_FOR_RESUMPTION:
            raise EAPError("no session is to be resumed")
        hello, self._hello = self._hello, b""
        self.state = State.WAITING_FOR_HANDSHAKE
        if granted:
            assert self._handshake is not None
            self._granted_der = self._handshake.presented_der
            return self._send(self._flight)
        return self._begin_anew(hello)

    def accept(self, *, binding_required: bool = True) -> Ask | Finished:  # noqa: ARG002  there is no tunnel to bind to
        """The decision was yes: finish the handshake so that the peer may know."""
        handshake, peer = self._end_handshake()
        self.state = State.WAITING_FOR_LAST_ANSWER
        if peer.version == TLS_12:
            key = handshake.export_key(b"client EAP encryption", 64, None)
        else:
            # RFC 9190 2.1.1: this octet is our promise that nothing more will be asked for.
            self._flight += handshake.encrypt(b"\x00")
            # RFC 9190 2.3: the context is the EAP type.
            key = handshake.export_key(b"EXPORTER_EAP_TLS_Key_Material", 128, bytes((self.type,)))
        self._finished = Finished(peer, key[:64])
        if not self._flight:  # all was said before the peer's last word
            self.state = State.FINISHED
            return self._finished
        return self._send(self._flight)

    def refuse(self, detail: str) -> Ask | Failed:
        """The decision was no. The peer is told by an alert before the failure (RFC 5216 2.1.3, RFC 9190 2.1.4)."""
        handshake, peer = self._end_handshake()
        return self._fail(Failed(TLSFailure.PROTOCOL, detail, peer.certificate_der), handshake.encode_access_denied())

    def _end_handshake(self) -> tuple[TLSHandshake, Peer]:
        """The complete handshake. It is not kept while the peer takes its time to answer: it weighs 50 kB and more."""
        if self.state is not State.WAITING_FOR_DECISION:
            raise EAPError(f"no decision is due while {self.state.name.lower().replace('_', ' ')}")
        handshake, self._handshake = self._handshake, None
        assert handshake is not None
        assert handshake.peer is not None
        return handshake, handshake.peer

    def _receive_client_hello(self, message: bytes) -> Progress:
        # Checked before any TLS state is made: a flood of empty openings costs us nothing (54 kB each otherwise).
        if len(message) < 6 or message[0] != _HANDSHAKE_RECORD or message[5] != _CLIENT_HELLO:
            raise EAPError("the first TLS message is not a ClientHello")
        self._handshake = self._context.new_handshake()
        self.state = State.WAITING_FOR_HANDSHAKE
        progress = self._receive_handshake(message)
        if self.failed is not None:
            return progress
        # A ticket is opened here, where it is decided about, and nowhere later: not in the rest of a message that came
        # in halves, and not in the second ClientHello, which may show another ticket than the first.
        if not self._flight:
            raise EAPError("the ClientHello is not whole")
        if is_hello_retry(self._flight):
            return self._begin_anew(message)
        if not self._handshake.is_resumed:
            return progress
        self.state, self._hello = State.WAITING_FOR_RESUMPTION, message
        if self._handshake.presented_der is None:  # made without a certificate: it proves nobody
            return self.resume(granted=False)
        return Resuming(Peer(self._handshake.presented_der, "", resumed=True))

    def _begin_anew(self, hello: bytes) -> Progress:
        self._handshake = self._context.new_handshake(resumes=False)
        return self._receive_handshake(hello)

    def _receive_handshake(self, message: bytes) -> Progress:
        assert self._handshake is not None
        if not message:
            raise EAPError("an empty answer while a TLS message is due")
        try:
            self._flight = self._handshake.receive(message)
        except TLSError as error:
            self.tls_parameters, self._handshake = self._handshake.parameters, None
            return self._fail(Failed(error.failure, error.detail, error.certificate_der), error.alert)
        peer = self._handshake.peer
        if peer is not None:
            if peer.resumed and peer.certificate_der != self._granted_der:
                raise EAPError("a session was resumed that nobody granted")
            self.state = State.WAITING_FOR_DECISION
            self.tls_parameters = self._handshake.parameters
            return Proven(peer)
        return self._send(self._flight)

    def _receive_last_answer(self, message: bytes) -> Progress:
        assert self._finished is not None
        self.state = State.FINISHED
        if message:
            peer = self._finished.peer
            assert isinstance(peer, Peer)
            return Failed(TLSFailure.CLIENT_ALERT, "the client refused our last message", peer.certificate_der)
        return self._finished

    def _fail(self, failed: Failed, alert: bytes) -> Ask | Failed:
        self.failed = failed
        if not alert:
            self.state = State.FINISHED
            return failed
        self.state = State.WAITING_FOR_ALERT_ANSWER
        return self._send(alert)

    def _send(self, message: bytes) -> Ask:
        self._outgoing = OutgoingMessage(message, packet_bytes=self._packet_bytes)
        return Ask(self._outgoing.next_fragment())
