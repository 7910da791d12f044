"""What the policy server keeps of a login, from its first packet to its recorded end."""

from array import array
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evertunnel.actions.authenticate import Decided, LoginFacts
from evertunnel.actions.nt_hashes import NewPassword
from evertunnel.model import Certificate, Decision, Gateway, LoginMethod, Step
from evertunnel.protocols.eap.conversation import Accepted, Conversation
from evertunnel.protocols.eap.methods.progress import Failed
from evertunnel.protocols.radius.duplicates import Remembered
from evertunnel.protocols.radius.packet import AccessRequest

_MAXIMUM_STEPS = 64
_METHODS = {method.value: method for method in LoginMethod}
_MAXIMUM_ROUNDS = 128  # of those that are told one by one; more are counted

Address = tuple[str, int]


@dataclass(slots=True)
class Login:
    """One conversation and its story so far. `began_uptime` is seconds of a clock that never jumps.

    `proven` says that the key of `certificate` was proven; else it is only what was shown. `remembered` is our last
    question, in case the gateway did not hear it; `decided` what came of the first look at policies. Who proved a
    password instead is `password_user_id`, and which one `password_mark`; `told` and `failed` are what is recorded of
    the method already.

    `rounds` holds three numbers for each packet that came: tenths of a millisecond since the login began, octets of EAP
    in it, and octets of EAP in our answer. They become words when somebody reads them (diagnosis.ladder). `proven_in`
    is the round in which the key was proven, `shown` what a certificate says of itself that is none of ours.
    """

    gateway: Gateway
    secret: bytes
    conversation: Conversation
    began_at: datetime
    began_uptime: float
    unique_id: int
    client_address: str
    steps: list[Step] = field(default_factory=list)
    certificate: Certificate | None = None
    proven: bool = False
    refusal: Decision | None = None
    remembered: "Remembered[Reply] | None" = None
    decided: Decided | None = None
    password_user_id: str | None = None
    password_mark: bytes = field(default=b"", repr=False)
    proven_at: datetime | None = None
    crypto_bound: bool | None = None
    new_password: NewPassword | None = None
    told: tuple[str, ...] = ()
    failed: Failed | None = None
    framed_mtu: int | None = None
    rounds: "array[int]" = field(default_factory=lambda: array("I"))
    rounds_count: int = 0
    proven_in: int = 0
    resumed: bool = False
    shown: dict[str, str] | None = None

    def begin_round(self, octets: int, uptime: float) -> None:
        """A packet came with so many octets of EAP."""
        self.rounds_count += 1
        if self.rounds_count <= _MAXIMUM_ROUNDS:
            self.rounds.extend((round((uptime - self.began_uptime) * 10_000), octets, 0))

    def answer_round(self, octets: int) -> None:
        """We ask on with so many octets of EAP."""
        if self.rounds_count <= _MAXIMUM_ROUNDS:
            self.rounds[-1] = octets

    def note(self, text: str, uptime: float) -> None:
        """Add a rung to the ladder; a client that goes on for ever does not fill our memory."""
        if len(self.steps) < _MAXIMUM_STEPS:
            self.steps.append(Step(round((uptime - self.began_uptime) * 1000, 1), text))

    def let_go(self) -> None:
        """It made room for others: keep nothing but what will be recorded."""
        self.conversation.fail()
        if self.remembered is not None:
            self.remembered.reply = None

    def facts(self, uptime: float, *, with_story: bool = False) -> LoginFacts:
        """What is known of it, for a decision, or with how it went for the record."""
        return LoginFacts(
            began_at=self.began_at,
            gateway=self.gateway,
            unique_id=self.unique_id,
            claimed_identity=self.conversation.identity,
            client_address=self.client_address,
            certificate=self.certificate,
            steps=tuple(self.steps),
            duration_ms=(uptime - self.began_uptime) * 1000,
            decided=self.decided,
            method=_METHODS.get(self.conversation.method_name),
            password_user_id=self.password_user_id,
            password_mark=self.password_mark,
            proven_at=self.proven_at,
            inner_identity=self.conversation.inner_identity,
            crypto_bound=self.crypto_bound,
            story=self._tell() if with_story else None,
        )

    def _tell(self) -> dict[str, Any]:
        """How it went, as model.Attempt.login. `method` comes first: records are searched for it."""
        story: dict[str, Any] = {"method": self.conversation.method_name, "rounds": self.rounds.tolist()}
        if self.rounds_count > _MAXIMUM_ROUNDS:
            story["count"] = self.rounds_count
        if self.framed_mtu is not None:
            story["mtu"] = self.framed_mtu
        if self.conversation.tls_parameters is not None:
            story["tls"] = self.conversation.tls_parameters
        if self.proven_in:
            story["proven"] = self.proven_in
        if self.resumed:
            story["resumed"] = True
        if self.shown:
            story["shown"] = self.shown
        return story


@dataclass(slots=True)
class Exchange:
    """One packet of a login: what came, from where, when, and where its reply will be remembered."""

    login: Login
    request: AccessRequest
    remembered: "Remembered[Reply]"
    source: Address
    now: datetime
    uptime: float


@dataclass(slots=True)
class Verdict:
    """A login that ended. Either `accepted` is set and only the decision is missing, or `refusal` is.

    `exchange` is None when there is nobody to answer: the client stopped talking. `sent` is the Accept it got
    already, when this is about sending that again: its octets, for a reply that knows its verdict would be a circle.
    """

    login: Login
    exchange: Exchange | None
    uptime: float
    eap_failure: bytes
    accepted: Accepted | None = None
    refusal: Decision | None = None
    sent: bytes = b""

    def keep_sent(self, data: bytes) -> None:
        """It was recorded. For a repetition keep what is decided and refused by; thousands wait for one in vain."""
        self.sent = data
        self.accepted = self.login.remembered = self.login.decided = None
        if self.exchange is not None:
            self.exchange.request = self.exchange.request.without_details()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A checked packet that another worker answers."""

    worker: int


@dataclass(slots=True)
class Reply:
    """Bytes for a gateway. A `verdict` is decided again before they may be sent again; without bytes it never was.

    What `vouches` says that we serve: it is sent only while we can.
    """

    data: bytes
    destination: Address
    verdict: Verdict | None = None
    vouches: bool = False


# Status-Server of one gateway; a watchdog asks once in some seconds.
STATUS_PER_SECOND = 10
# How long a commit that failed counts as "we cannot". Then gateways may try us again, for nothing else would tell.
UNABLE_SECONDS = 30.0
