"""EAP-MSCHAPv2, the server's side (draft-kamath-pppext-eap-mschapv2, RFC 2759), alone or inside PEAP.

peer                              we
     <-- challenge --                       WAITING_FOR_RESPONSE
response -->
     <-- failure, try again --              WAITING_FOR_RESPONSE, with a new challenge
     <-- failure, no more --                WAITING_FOR_END
     <-- failure, password expired --       WAITING_FOR_NEW_PASSWORD
new password -->
     (password proven: the caller decides)  WAITING_FOR_DECISION
     <-- success, with our own proof --     WAITING_FOR_SUCCESS
success -->
     (keys)
"""

import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto

from evertunnel.protocols.eap import mschapv2_keys as keys
from evertunnel.protocols.eap.methods.progress import (
    Ask,
    Failed,
    Finished,
    MethodFailure,
    PasswordPeer,
    Progress,
    Proven,
)
from evertunnel.protocols.eap.packet import EAPError, Type
from evertunnel.protocols.eap.stage import Stage

# As NPS has it unless told otherwise.
RETRIES = 2
_NAME = b"evertunnel"
_NUMBER = 1
_HEAD = struct.Struct("!BBH")
_VALUE_BYTES = 49
_RESPONSE = struct.Struct("!16s8s24sB")
_CHANGE = struct.Struct("!516s16s16s8s24sH")
_NAME_BYTES_AT_MOST = 256
_UTF_8 = "utf-8"


class OpCode(IntEnum):
    """What a packet is (draft-kamath-pppext-eap-mschapv2 2)."""

    CHALLENGE = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4
    CHANGE_PASSWORD = 7


class Code(IntEnum):
    """Errors of a failure packet (RFC 2759 6)."""

    PASSWORD_EXPIRED = 648
    NO_DIAL_IN_PERMISSION = 649
    AUTHENTICATION_FAILED = 691
    CHANGE_FAILED = 709


class State(Enum):
    """What the method waits for."""

    WAITING_FOR_RESPONSE = auto()
    WAITING_FOR_NEW_PASSWORD = auto()
    WAITING_FOR_DECISION = auto()
    WAITING_FOR_SUCCESS = auto()
    WAITING_FOR_END = auto()
    FINISHED = auto()


@dataclass(frozen=True, slots=True)
class StoredPassword:
    """What is kept of somebody's password. Of nobody it is a hash that no password has, and `user_id` is empty.

    `limited` says that it was not looked for, after too many tries; whoever tried is not told. `mark` is another one
    once the password is.
    """

    user_id: str
    nt_hash: bytes = field(repr=False)
    expired: bool = False
    limited: bool = False
    mark: bytes = field(default=b"", repr=False)


# Who calls himself this; it always answers, and takes as long for nobody as for somebody.
FindPassword = Callable[[str], StoredPassword]
# Whether a new password may be one; what is wrong with it, else empty.
JudgePassword = Callable[[str], str]


class EAPMSCHAPv2:
    """One peer's run of the method."""

    __slots__ = (
        "_challenge", "_find_password", "_finished", "_judge_password", "_name", "_new_challenge",
        "_password", "_proof", "_refused", "_retries", "_tried", "_wrong", "failed", "name", "state",
    )  # fmt: skip
    type = Type.MSCHAPV2
    inner_identity = None
    tls_parameters = None

    def __init__(
        self,
        find_password: FindPassword,
        judge_password: JudgePassword,
        new_challenge: Callable[[], bytes],
        *,
        name: str = "eap-mschapv2",
    ) -> None:
        """`new_challenge` makes 16 random octets: none is ever used for two responses."""
        self._find_password = find_password
        self._judge_password = judge_password
        self._new_challenge = new_challenge
        self._challenge = b""
        self._retries = RETRIES
        self._refused: list[str] = []
        self._tried = 0
        self._wrong = MethodFailure.PASSWORD_WRONG
        self._name = b""
        self._password: StoredPassword | None = None
        self._proof = ""
        self._finished: Finished | None = None
        self.name = name
        self.failed: Failed | None = None
        self.state = State.WAITING_FOR_RESPONSE

    @property
    def stage(self) -> Stage:
        """How far the peer came. Nothing of it weighs more than its octets."""
        return Stage.ENDING if self.state is State.WAITING_FOR_SUCCESS else Stage.NOTHING

    def describe(self) -> tuple[str, ...]:
        """What is known of it, for the record."""
        return ("EAP-MSCHAPv2, which is weak", *self._refused)

    @property
    def may_be_refused(self) -> bool:
        """Whether the peer may still ask for another method."""
        return self.state is State.WAITING_FOR_RESPONSE and not self._tried

    def start(self) -> Ask:
        """The challenge."""
        self._challenge = self._new_challenge()
        value = bytes((len(self._challenge),)) + self._challenge + _NAME
        return self._build(OpCode.CHALLENGE, value)

    def receive(self, data: bytes) -> Progress:
        """Take the data of one response. Raises EAPError when the peer may not send that now."""
        if not data:
            raise EAPError("EAP-MSCHAPv2 without an operation")
        match self.state, data[0]:
            case State.WAITING_FOR_RESPONSE, OpCode.RESPONSE:
                return self._receive_response(self._open(data))
            case State.WAITING_FOR_NEW_PASSWORD, OpCode.CHANGE_PASSWORD:
                return self._receive_new_password(self._open(data))
            case State.WAITING_FOR_NEW_PASSWORD, OpCode.FAILURE:
                return self._end(MethodFailure.PASSWORD_EXPIRED)
            case State.WAITING_FOR_SUCCESS, OpCode.SUCCESS:
                self.state = State.FINISHED
                assert self._finished is not None
                return self._finished
            case State.WAITING_FOR_END, OpCode.FAILURE:
                self.state = State.FINISHED
                assert self.failed is not None
                return self.failed
            case State.WAITING_FOR_RESPONSE, OpCode.FAILURE if self._tried:
                return self._end(self._wrong)
        raise EAPError(f"EAP-MSCHAPv2 operation {data[0]} while {self.state.name.lower().replace('_', ' ')}")

    def resume(self, *, granted: bool) -> Progress:  # noqa: ARG002
        """Nothing is ever resumed."""
        raise EAPError("no session is to be resumed")

    def accept(self, *, binding_required: bool = True) -> Ask:  # noqa: ARG002  there is no tunnel to bind to
        """The decision was yes: prove that we know the password, too."""
        if self.state is not State.WAITING_FOR_DECISION:
            raise EAPError(f"no decision is due while {self.state.name.lower().replace('_', ' ')}")
        self.state = State.WAITING_FOR_SUCCESS
        return self._build(OpCode.SUCCESS, f"{self._proof} M=OK".encode())

    def refuse(self, detail: str) -> Ask:
        """The decision was no: no permission to connect, which says nothing of why."""
        if self.state is not State.WAITING_FOR_DECISION:
            raise EAPError(f"no decision is due while {self.state.name.lower().replace('_', ' ')}")
        self.failed = Failed(MethodFailure.CLIENT_REFUSED, detail, None)
        return self._refuse(Code.NO_DIAL_IN_PERMISSION)

    def _open(self, data: bytes) -> bytes:
        """The value of a packet with a header that holds."""
        if len(data) < _HEAD.size:
            raise EAPError("EAP-MSCHAPv2 packet is cut off")
        _operation, number, length = _HEAD.unpack_from(data)
        if length != len(data):
            raise EAPError(f"EAP-MSCHAPv2 length {length} differs from the {len(data)} octets that came")
        # Windows counts on after a failure, and we do not, like NPS; the challenge binds an answer to its question.
        if number != _NUMBER and not self._tried:
            raise EAPError(f"EAP-MSCHAPv2 response {number} does not answer {_NUMBER}")
        return data[_HEAD.size :]

    def _receive_response(self, value: bytes) -> Progress:
        if len(value) < 1 + _VALUE_BYTES or value[0] != _VALUE_BYTES:
            raise EAPError("EAP-MSCHAPv2 response of another length")
        self._tried += 1
        peer_challenge, reserved, nt_response, _flags = _RESPONSE.unpack_from(value, 1)
        if any(reserved):
            raise EAPError("EAP-MSCHAPv2 response with reserved octets")
        name = value[1 + _VALUE_BYTES :]
        if not name or len(name) > _NAME_BYTES_AT_MOST:
            raise EAPError("EAP-MSCHAPv2 response without a name, or with one that is too long")
        text = name.decode(_UTF_8, "replace")
        password = self._find_password(text)
        self._name = keys.remove_domain(text).encode(_UTF_8, "replace")
        challenge_hash = keys.hash_challenges(peer_challenge, self._challenge, self._name)
        expected = keys.build_nt_response(challenge_hash, password.nt_hash)
        # Both are looked at whoever it is: nobody learns from us which names there are.
        right = hmac.compare_digest(expected, nt_response) & bool(password.user_id)
        if not right:
            wrong = MethodFailure.TOO_MANY_TRIES if password.limited else MethodFailure.PASSWORD_WRONG
            # Whose it was meant to be: outside of this method the client may call itself another.
            self._refused.append(
                f"the password given for {text!r} was {'not looked at' if password.limited else 'wrong'}"
            )
            return self._refuse_password(wrong)
        self._password = password
        if password.expired:
            self.state = State.WAITING_FOR_NEW_PASSWORD
            self.failed = self._fail(MethodFailure.PASSWORD_EXPIRED)
            return self._build(OpCode.FAILURE, self._describe(Code.PASSWORD_EXPIRED))
        return self._prove(password.nt_hash, nt_response, challenge_hash, new_password=None)

    def _receive_new_password(self, value: bytes) -> Progress:
        assert self._password is not None
        if len(value) != _CHANGE.size:
            raise EAPError("EAP-MSCHAPv2 change of password of another length")
        encrypted, encrypted_hash, peer_challenge, _reserved, nt_response, _flags = _CHANGE.unpack(value)
        new = keys.decrypt_new_password(encrypted, encrypted_hash, self._password.nt_hash)
        if new is None:
            return self._refuse_change("it was not encrypted under the old password")
        nt_hash = keys.hash_password_nt(new)
        challenge_hash = keys.hash_challenges(peer_challenge, self._challenge, self._name)
        if not hmac.compare_digest(keys.build_nt_response(challenge_hash, nt_hash), nt_response):
            return self._refuse_change("the response was not made with the new password")
        if nt_hash == self._password.nt_hash:
            return self._refuse_change("the new password is the old one")
        if wrong := self._judge_password(new):
            return self._refuse_change(wrong)
        return self._prove(nt_hash, nt_response, challenge_hash, new_password=new)

    def _prove(self, nt_hash: bytes, nt_response: bytes, challenge_hash: bytes, *, new_password: str | None) -> Proven:
        assert self._password is not None
        peer = PasswordPeer(self._password.user_id, new_password=new_password, mark=self._password.mark)
        self._proof = keys.build_authenticator_response(nt_hash, nt_response, challenge_hash)
        self._finished = Finished(peer, keys.derive_master_session_key(nt_hash, nt_response))
        self._password = self.failed = None
        self.state = State.WAITING_FOR_DECISION
        return Proven(peer)

    def _refuse_password(self, wrong: MethodFailure) -> Ask:
        # Known already if the client says no more, as many do.
        self.failed = self._fail(wrong)
        self._wrong = wrong
        if self._retries:
            self._retries -= 1
            return self._build(OpCode.FAILURE, self._describe(Code.AUTHENTICATION_FAILED, again=True))
        return self._refuse(Code.AUTHENTICATION_FAILED)

    def _refuse_change(self, why: str) -> Ask:
        self.failed = self._fail(MethodFailure.PASSWORD_CHANGE_FAILED, f": {why}")
        return self._refuse(Code.CHANGE_FAILED)

    def _refuse(self, code: Code) -> Ask:
        self.state = State.WAITING_FOR_END
        return self._build(OpCode.FAILURE, self._describe(code))

    def _end(self, failure: MethodFailure) -> Failed:
        self.state = State.FINISHED
        self.failed = self._fail(failure)
        return self.failed

    def _fail(self, failure: MethodFailure, more: str = "") -> Failed:
        return Failed(failure, failure.value + more, None, self._password.user_id if self._password else None)

    def _describe(self, code: Code, *, again: bool = False) -> bytes:
        """The text of a failure. Its challenge is the one that the next response, or new password, has to answer."""
        self._challenge = self._new_challenge()
        return f"E={code} R={int(again)} C={self._challenge.hex().upper()} V=3 M=Refused".encode()

    def _build(self, operation: OpCode, value: bytes) -> Ask:
        return Ask(_HEAD.pack(operation, _NUMBER, _HEAD.size + len(value)) + value)
