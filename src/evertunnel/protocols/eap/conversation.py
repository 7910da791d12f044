"""One EAP conversation: who are you, then one method, then success or failure (RFC 3748 2)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from evertunnel.protocols.eap.methods import tls
from evertunnel.protocols.eap.packet import (
    EAPError,
    Response,
    Type,
    decode_response,
    encode_failure,
    encode_request,
    encode_success,
)
from evertunnel.protocols.eap.tls_server import Peer, TLSFailure

# A chain of 64 KiB in pieces of 1,400 octets is under 50 rounds; nobody honest needs more than this.
MAXIMUM_ROUNDS = 100


class State(Enum):
    """What the conversation waits for."""

    WAITING_FOR_IDENTITY = auto()
    WAITING_FOR_METHOD = auto()
    WAITING_FOR_DECISION = auto()
    FINISHED = auto()


class MethodRefusedError(Exception):
    """The peer wants none of the methods on offer. `wanted` are the types it named."""

    def __init__(self, wanted: bytes) -> None:
        super().__init__(f"the client wants EAP type {', '.join(map(str, wanted)) or 'none'} and not {Type.TLS.value}")
        self.wanted = wanted


class TooManyRoundsError(Exception):
    """The conversation goes on for longer than any login needs."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this EAP-Request and wait."""

    eap_message: bytes


@dataclass(frozen=True, slots=True)
class DecisionDue:
    """The peer proved who it is. Decide, then call `accept` or `refuse`."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Accepted:
    """Everything is complete. Send the success only after it was recorded."""

    eap_message: bytes
    peer: Peer
    master_session_key: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """It is over. `eap_message` is the failure to send."""

    eap_message: bytes
    failure: TLSFailure
    detail: str
    certificate_der: bytes | None


Turn = Challenge | DecisionDue | Accepted | Refused


class Conversation:
    """EAP with one peer."""

    def __init__(self, new_method: Callable[[], tls.EAPTLS]) -> None:
        self._new_method = new_method
        self._method: tls.EAPTLS | None = None
        self._identifier = 0
        self._rounds = 0
        self.state = State.WAITING_FOR_IDENTITY
        self.identity = ""

    def start(self) -> Challenge:
        """The gateway sent an EAP-Start: ask for the identity (RFC 3579 2.1)."""
        return Challenge(encode_request(self._identifier, Type.IDENTITY))

    def receive(self, eap_message: bytes) -> Turn:
        """Take one EAP message of the peer.

        Raises EAPError for what is to be dropped, MethodRefusedError and TooManyRoundsError when the conversation
        is over; `failure()` has the message to send then.
        """
        response = decode_response(eap_message)
        if self.state is State.WAITING_FOR_IDENTITY:
            return self._receive_identity(response)
        if response.identifier != self._identifier:
            raise EAPError(f"response {response.identifier} does not answer request {self._identifier}")
        self._rounds += 1
        if self._rounds > MAXIMUM_ROUNDS:
            raise TooManyRoundsError(f"more than {MAXIMUM_ROUNDS} rounds")
        if self.state is not State.WAITING_FOR_METHOD or self._method is None:
            raise EAPError("nothing more may be said in this conversation")
        if response.type == Type.NAK:
            if self._method.state is not tls.State.WAITING_FOR_CLIENT_HELLO:
                raise EAPError("a method in progress cannot be refused (RFC 3748 2.1)")
            raise MethodRefusedError(response.data)
        if response.type != self._method.type:
            raise EAPError(f"EAP type {response.type} in a conversation of type {self._method.type}")
        return self._advance(self._method.receive(response.data))

    def accept(self) -> Challenge:
        """The decision was yes; the peer still has to answer before it may be let in."""
        assert self._method is not None
        self.state = State.WAITING_FOR_METHOD
        return self._ask(self._method.accept())

    def refuse(self, detail: str) -> Challenge | Refused:
        """The decision was no."""
        assert self._method is not None
        self.state = State.WAITING_FOR_METHOD
        progress = self._method.refuse(detail)
        turn = self._advance(progress)
        assert isinstance(turn, (Challenge, Refused))
        return turn

    def failure(self) -> bytes:
        """An EAP-Failure that fits the last response."""
        self.state = State.FINISHED
        return encode_failure(self._identifier)

    def _receive_identity(self, response: Response) -> Challenge:
        if response.type != Type.IDENTITY:
            raise EAPError(f"EAP type {response.type} before an identity")
        self.identity = response.data.decode("utf-8", "replace")
        self._identifier = response.identifier
        self._method = self._new_method()
        self.state = State.WAITING_FOR_METHOD
        return self._ask(self._method.start())

    def _advance(self, progress: tls.Progress) -> Turn:
        match progress:
            case tls.Ask():
                return self._ask(progress)
            case tls.Proven(peer):
                self.state = State.WAITING_FOR_DECISION
                return DecisionDue(peer)
            case tls.Finished(peer, master_session_key):
                self.state = State.FINISHED
                return Accepted(encode_success(self._identifier), peer, master_session_key)
            case tls.Failed(failure, detail, certificate_der):
                return Refused(self.failure(), failure, detail, certificate_der)

    def _ask(self, ask: tls.Ask) -> Challenge:
        assert self._method is not None
        self._identifier = (self._identifier + 1) & 0xFF
        return Challenge(encode_request(self._identifier, self._method.type, ask.data))
