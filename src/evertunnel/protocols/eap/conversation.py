"""One EAP conversation: who are you, then one method, then success or failure (RFC 3748 2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from evertunnel.protocols.eap.methods.progress import (
    AnyPeer,
    Ask,
    Failed,
    Finished,
    Method,
    NewMethod,
    Progress,
    Proven,
    Resuming,
)
from evertunnel.protocols.eap.packet import (
    EAPError,
    Response,
    Type,
    decode_expanded_nak,
    decode_response,
    encode_failure,
    encode_request,
    encode_success,
)
from evertunnel.protocols.eap.stage import Stage
from evertunnel.protocols.eap.tls_server import Peer, TLSParameters

# A chain of 64 KiB in pieces of 1,400 octets is under 50 rounds; nobody honest needs more than this...
MAXIMUM_ROUNDS = 100
# ...unless each brings something: those of so many octets are counted apart. 16 KiB in pieces of 50 are under 400.
_LARGE_BYTES = 48
_LARGE_ROUNDS_AT_MOST = 500
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

    def __init__(self, wanted: Sequence[int], offered: Sequence[int] = (Type.TLS,)) -> None:
        types = ", ".join(map(str, wanted[:_NAMED_TYPES])) + (" and others" if len(wanted) > _NAMED_TYPES else "")
        ours = " or ".join(str(int(each)) for each in offered)
        super().__init__(f"the client wants EAP type {types or 'none'} and not {ours}")


class TooManyRoundsError(Exception):
    """The conversation goes on for longer than any login needs."""


@dataclass(slots=True)
class Challenge:
    """Send this EAP-Request and wait."""

    eap_message: bytes


@dataclass(frozen=True, slots=True)
class DecisionDue:
    """The peer proved who it is. Decide, then call `accept` or `refuse`."""

    peer: AnyPeer


@dataclass(frozen=True, slots=True)
class ResumptionDue:
    """The peer wants to go on with a session of before, when it had proven this. Decide, then call `resume`."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Accepted:
    """Everything is complete. Send the success only after it was recorded. `bound` is as in `progress.Finished`."""

    eap_message: bytes
    peer: AnyPeer
    master_session_key: bytes = field(repr=False)
    bound: bool | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It is over. `eap_message` is the failure to send."""

    eap_message: bytes
    failed: Failed


Turn = Challenge | DecisionDue | ResumptionDue | Accepted | Refused


class Conversation:
    """EAP with one peer."""

    __slots__ = (
        "_answered", "_asked", "_ended", "_large_rounds", "_method", "_new_method", "_small_rounds", "_types",
        "identity", "state",
    )  # fmt: skip

    def __init__(self, new_method: NewMethod, types: Sequence[int] = (Type.TLS,)) -> None:
        """`types` are on offer, the first is tried first; `new_method` begins one."""
        self._new_method = new_method
        self._types = types
        self._method: Method | None = None
        # The identifiers of our request that is open, and of the peer's last response.
        self._asked: int | None = None
        self._answered = 0
        self._small_rounds = self._large_rounds = 0
        self.state = State.WAITING_FOR_IDENTITY
        self.identity = ""
        # Name, inner identity, what it had to tell and what TLS agreed on, of the method that is over.
        self._ended: tuple[str, str | None, tuple[str, ...], TLSParameters | None] = ("", None, (), None)

    @property
    def failed(self) -> Failed | None:
        """Why this will end in failure: certain already, although the peer is still being told."""
        return self._method.failed if self._method is not None else None

    @property
    def method_name(self) -> str:
        """Of the method that runs, or ran last; empty when there was none."""
        return self._ended[0] if self._method is None else self._method.name

    @property
    def tls_parameters(self) -> TLSParameters | None:
        """What the TLS handshake of the method agreed on, the outer one of PEAP; None where there was none."""
        return self._ended[3] if self._method is None else self._method.tls_parameters

    @property
    def inner_identity(self) -> str | None:
        """Who the peer says it is inside its tunnel; None where there is none."""
        return self._ended[1] if self._method is None else self._method.inner_identity

    def describe(self) -> tuple[str, ...]:
        """What is known of the method so far, for the record: it only grows, unless another method begins."""
        return self._ended[2] if self._method is None else self._method.describe()

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
        self._count_round(len(eap_message))
        response = decode_response(eap_message)
        if self._asked is not None and response.identifier != self._asked:
            raise EAPError(f"response {response.identifier} does not answer request {self._asked}")
        if self.state is State.WAITING_FOR_IDENTITY:
            return self._receive_identity(response)
        if self.state is not State.WAITING_FOR_METHOD or self._method is None:
            raise EAPError("nothing more may be said in this conversation")
        if response.type == Type.NAK:
            return self._change_method(list(response.data))
        if response.type == Type.EXPANDED and (wanted := decode_expanded_nak(response.data)) is not None:
            return self._change_method(wanted)
        if response.type != self._method.type:
            raise EAPError(f"EAP type {response.type} in a conversation of type {self._method.type}")
        return self._advance(self._method.receive(response.data))

    def resume(self, *, granted: bool) -> Challenge | Refused:
        """Whether the session may be resumed; else the peer proves itself anew."""
        assert self._method is not None
        self.state = State.WAITING_FOR_METHOD
        turn = self._advance(self._method.resume(granted=granted))
        assert isinstance(turn, (Challenge, Refused))
        return turn

    def accept(self, *, binding_required: bool = True) -> Challenge | Accepted:
        """The decision was yes; most peers still have to answer before they may be let in."""
        assert self._method is not None
        self.state = State.WAITING_FOR_METHOD
        turn = self._advance(self._method.accept(binding_required=binding_required))
        assert isinstance(turn, (Challenge, Accepted))
        return turn

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
            method = self._method
            self._ended = (method.name, method.inner_identity, method.describe(), method.tls_parameters)
        self._method = None

    def _receive_identity(self, response: Response) -> Challenge:
        if response.type != Type.IDENTITY:
            raise EAPError(f"EAP type {response.type} before an identity")
        self.identity = response.data.decode("utf-8", "replace")[:MAXIMUM_IDENTITY_CHARACTERS]
        self._asked = response.identifier
        self.state = State.WAITING_FOR_METHOD
        return self._begin(self._types[0])

    def _begin(self, eap_type: int) -> Challenge:
        assert self._asked is not None
        # What was tried is not tried again, which bounds how often a peer may ask for another.
        self._types = [each for each in self._types if each != eap_type]
        self._method = self._new_method(eap_type, (self._asked + 1) & 0xFF)
        return self._ask(self._method.start())

    def _change_method(self, wanted: list[int]) -> Challenge:
        """The peer wants another method (RFC 3748 5.3): the first it names of those that are left on offer."""
        assert self._method is not None
        if not self._method.may_be_refused:
            raise EAPError("a method in progress cannot be refused (RFC 3748 2.1)")
        for eap_type in wanted:
            if eap_type in self._types:
                return self._begin(eap_type)
        raise MethodRefusedError(wanted, [self._method.type, *self._types])

    def _count_round(self, octets: int) -> None:
        if octets < _LARGE_BYTES:
            self._small_rounds += 1
        else:
            self._large_rounds += 1
        if self._small_rounds > MAXIMUM_ROUNDS or self._large_rounds > _LARGE_ROUNDS_AT_MOST:
            raise TooManyRoundsError(f"more than {self._small_rounds + self._large_rounds - 1} rounds")

    def _advance(self, progress: Progress) -> Turn:
        match progress:
            case Ask():
                return self._ask(progress)
            case Proven(peer):
                self.state = State.WAITING_FOR_DECISION
                return DecisionDue(peer)
            case Resuming(peer):
                self.state = State.WAITING_FOR_DECISION
                return ResumptionDue(peer)
            case Finished(peer, master_session_key, bound):
                self._finish()
                return Accepted(encode_success(self._answered), peer, master_session_key, bound)
            case Failed():
                return Refused(self.fail(), progress)

    def _ask(self, ask: Ask) -> Challenge:
        assert self._method is not None
        assert self._asked is not None
        self._asked = (self._asked + 1) & 0xFF
        return Challenge(encode_request(self._asked, self._method.type, ask.data))
