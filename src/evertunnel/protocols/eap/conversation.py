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
from evertunnel.protocols.eap.stage import Stage
from evertunnel.protocols.eap.tls_server import Peer, TLSParameters

# A chain of 64 KiB in pieces of 1,400 octets is under 50 rounds; nobody honest needs more than this.
MAXIMUM_ROUNDS = 100
# More than any name may have (RFC 7542 2.2: 253 octets); the rest would only fill our records.
MAXIMUM_IDENTITY_CHARACTERS = 256
_NAMED_TYPES = 8


class State(Enum):
    """What the conversation waits for."""

    WAITING_FOR_IDENTITY = auto()
    WAITING_FOR_METHOD = auto()
    WAITING_FOR_DECISION = auto()
    FINISHED = auto()


class MethodRefusedError(Exception):
    """The peer wants none of the methods on offer but the types of `wanted`."""

    def __init__(self, wanted: bytes) -> None:
        types = ", ".join(map(str, wanted[:_NAMED_TYPES])) + (" and others" if len(wanted) > _NAMED_TYPES else "")
        super().__init__(f"the client wants EAP type {types or 'none'} and not {Type.TLS.value}")


class TooManyRoundsError(Exception):
    """The conversation goes on for longer than any login needs."""


@dataclass(slots=True)
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
    failed: tls.Failed


Turn = Challenge | DecisionDue | Accepted | Refused


class Conversation:
    """EAP with one peer."""

    __slots__ = ("_answered", "_asked", "_ended", "_method", "_new_method", "_rounds", "identity", "state")

    def __init__(self, new_method: Callable[[], tls.EAPTLS]) -> None:
        self._new_method = new_method
        self._method: tls.EAPTLS | None = None
        # The identifiers of our request that is open, and of the peer's last response.
        self._asked: int | None = None
        self._answered = 0
        self._rounds = 0
        self.state = State.WAITING_FOR_IDENTITY
        self.identity = ""
        self._ended: tuple[str, TLSParameters | None] = ("", None)  # what is known of the method that is over

    @property
    def method_name(self) -> str:
        """Of the method that runs, or ran last; empty when there was none."""
        return self._ended[0] if self._method is None else self._method.name

    @property
    def tls_parameters(self) -> TLSParameters | None:
        """What the method's TLS handshake agreed on."""
        return self._ended[1] if self._method is None else self._method.tls_parameters

    @property
    def failed(self) -> tls.Failed | None:
        """Why this will end in failure: certain already, although the peer is still being told."""
        return self._method.failed if self._method is not None else None

    @property
    def stage(self) -> Stage:
        """How far it came."""
        return self._method.stage if self._method is not None else Stage.NOTHING

    def start(self) -> Challenge:
        """The gateway sent an EAP-Start: ask for the identity (RFC 3579 2.1)."""
        self._asked = 0
        return Challenge(encode_request(self._asked, Type.IDENTITY))

    def receive(self, eap_message: bytes) -> Turn:
        """Take one EAP message of the peer.

        Raises EAPError for what may not be said, MethodRefusedError and TooManyRoundsError: then the conversation is
        over; `fail()` has the message to send.
        """
        self._answered = eap_message[1] if len(eap_message) > 1 else self._answered
        self._rounds += 1
        if self._rounds > MAXIMUM_ROUNDS:
            raise TooManyRoundsError(f"more than {MAXIMUM_ROUNDS} rounds")
        response = decode_response(eap_message)
        if self._asked is not None and response.identifier != self._asked:
            raise EAPError(f"response {response.identifier} does not answer request {self._asked}")
        if self.state is State.WAITING_FOR_IDENTITY:
            return self._receive_identity(response)
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

    def fail(self) -> bytes:
        """End it. Returns an EAP-Failure that fits the last response."""
        self._finish()
        return encode_failure(self._answered)

    def _finish(self) -> None:
        # What ended may be remembered for a while, for repeated packets; a TLS connection weighs 50 kB and more.
        self.state = State.FINISHED
        if self._method is not None:
            self._ended = self._method.name, self._method.tls_parameters
        self._method = None

    def _receive_identity(self, response: Response) -> Challenge:
        if response.type != Type.IDENTITY:
            raise EAPError(f"EAP type {response.type} before an identity")
        self.identity = response.data.decode("utf-8", "replace")[:MAXIMUM_IDENTITY_CHARACTERS]
        self._asked = response.identifier
        self._method = self._new_method()
        del self._new_method  # ten thousand that stop here are to be small
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
                self._finish()
                return Accepted(encode_success(self._answered), peer, master_session_key)
            case tls.Failed():
                return Refused(self.fail(), progress)

    def _ask(self, ask: tls.Ask) -> Challenge:
        assert self._method is not None
        assert self._asked is not None
        self._asked = (self._asked + 1) & 0xFF
        return Challenge(encode_request(self._asked, self._method.type, ask.data))
