"""What a method says after each packet, and what the conversation needs of every method."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from evertunnel.protocols.eap.stage import Stage
from evertunnel.protocols.eap.tls_server import Peer, TLSFailure, TLSParameters


class MethodFailure(StrEnum):
    """Why a method failed, where it was not TLS."""

    PASSWORD_WRONG = "the user name or the password is wrong"  # noqa: S105
    TOO_MANY_TRIES = "too many passwords were tried with this name from this address"
    PASSWORD_EXPIRED = "the password must be changed"  # noqa: S105
    PASSWORD_CHANGE_FAILED = "the password could not be changed"  # noqa: S105
    BINDING_MISSING = "the client did not bind the inner method to its tunnel (no crypto-binding)"
    BINDING_WRONG = "the client's crypto-binding is wrong: somebody may stand between it and us"
    CLIENT_REFUSED = "the client did not take our result"


@dataclass(frozen=True, slots=True)
class PasswordPeer:
    """Who proved a password, and the new one it chose when the old one had ended. `mark` is of the one it proved."""

    user_id: str
    version: str = ""
    new_password: str | None = field(default=None, repr=False)
    mark: bytes = field(default=b"", repr=False)


AnyPeer = Peer | PasswordPeer
AnyFailure = TLSFailure | MethodFailure


@dataclass(slots=True)
class Ask:
    """Send this as the data of the next EAP-Request of the method."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """The peer proved who it is. Decide, then call `accept` or `refuse`."""

    peer: AnyPeer


@dataclass(frozen=True, slots=True)
class Finished:
    """The method is complete. `bound` says whether crypto-binding was proven; None where there is none to prove."""

    peer: AnyPeer
    master_session_key: bytes = field(repr=False)
    bound: bool | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The method is over and the peer has been told as much as it may know.

    `certificate_der` was shown by the peer; `user_id` is whose password it proved, although that does not let it in.
    """

    failure: AnyFailure
    detail: str
    certificate_der: bytes | None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Resuming:
    """The peer wants to go on with a session of before, when it had proven this. Decide, then call `resume`."""

    peer: Peer


Progress = Ask | Proven | Finished | Failed | Resuming


class Method(Protocol):
    """One peer's run of a method.

    `failed` is set as soon as failure is certain, `inner_identity` to who the peer says it is inside a tunnel.
    """

    @property
    def type(self) -> int:
        """Its EAP type."""

    @property
    def name(self) -> str:
        """What a record calls it (model.LoginMethod)."""

    @property
    def stage(self) -> Stage:
        """How far the peer came."""

    @property
    def may_be_refused(self) -> bool:
        """Whether the peer may still ask for another method (RFC 3748 2.1)."""

    @property
    def failed(self) -> Failed | None:
        """Why it will end in failure."""

    @property
    def tls_parameters(self) -> TLSParameters | None:
        """What its TLS handshake agreed on."""

    def describe(self) -> tuple[str, ...]:
        """What is known of it, for the record."""

    @property
    def inner_identity(self) -> str | None:
        """None: there is no tunnel."""

    def start(self) -> Ask:
        """The first request."""

    def receive(self, data: bytes) -> Progress:
        """Take the data of one response. Raises EAPError when the peer may not send that now."""

    def resume(self, *, granted: bool) -> Progress:
        """Go on with the session, or have the peer prove itself anew."""

    def accept(self, *, binding_required: bool = True) -> Progress:
        """The decision was yes."""

    def refuse(self, detail: str) -> Progress:
        """The decision was no."""


# Begins a method of a type; the other number is the identifier of its first request, and each later one has the next.
NewMethod = Callable[[int, int], Method]
