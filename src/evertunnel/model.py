"""The nouns: what connects, what it presents, what is known of it and what was decided. No behaviour beyond reading."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple


class TunnelKind(StrEnum):
    """Which of the two tunnels: a person's, or the machine's before anyone signs in."""

    USER = "user"
    DEVICE = "device"


class SubjectKind(StrEnum):
    """What a denial, a fact or a group membership can be about."""

    USER = "user"
    DEVICE = "device"
    GROUP = "group"


class CertificateKind(StrEnum):
    """What a certificate is for; Microsoft's word is certificate template."""

    GATEWAY = "gateway"
    POLICY_SERVER = "policy-server"
    USER = "user"
    DEVICE = "device"
    SHORT_LIVED = "short-lived"
    OCSP_SIGNER = "ocsp-signer"
    AGENT = "agent"
    AGENT_SERVER = "agent-server"
    RADSEC = "radsec"
    RADSEC_SERVER = "radsec-server"


class Authority(StrEnum):
    """Our certification authorities. Only the device authority stands beside the root."""

    ROOT = "root"
    ISSUING = "issuing"
    DEVICE = "device"
    ACCESS = "access"


class AccessAuthorityState(StrEnum):
    """WANTED waits for the signer to make it. STAGED is trusted and does not sign yet, the ACTIVE one signs."""

    WANTED = "wanted"
    STAGED = "staged"
    ACTIVE = "active"
    RETIRED = "retired"


class CertificateStatus(StrEnum):
    """GRANTED is a row the signer may sign; a certificate that left us is VALID, ON_HOLD or REVOKED."""

    GRANTED = "granted"
    VALID = "valid"
    ON_HOLD = "on hold"
    REVOKED = "revoked"


class AttemptKind(StrEnum):
    """What somebody tried."""

    USER_TUNNEL = "user tunnel"
    DEVICE_TUNNEL = "device tunnel"
    CERTIFICATE = "certificate"


class AuthenticationMethod(StrEnum):
    """How somebody proved at a sign-in who he is."""

    PASSWORD = "password"  # noqa: S105  its name
    TOTP = "totp"


class LoginMethod(StrEnum):
    """How somebody proves who he is for a user tunnel. Network policies name these."""

    EAP_TLS = "eap-tls"
    PEAP_EAP_TLS = "peap-eap-tls"
    EAP_MSCHAPV2 = "eap-mschapv2"
    PEAP_EAP_MSCHAPV2 = "peap-eap-mschapv2"

    @property
    def by_password(self) -> bool:
        """Whether a password is all that is proven: there is no certificate, and no device."""
        return self in (LoginMethod.EAP_MSCHAPV2, LoginMethod.PEAP_EAP_MSCHAPV2)


class Outcome(StrEnum):
    """How an attempt ended. FAILED is one that never came to a decision."""

    GRANTED = "granted"
    REFUSED = "refused"
    FAILED = "failed"


class SessionState(StrEnum):
    """PENDING waits for the gateway to report the tunnel, ENDING for it to confirm the end."""

    PENDING = "pending"
    UP = "up"
    ENDING = "ending"
    ENDED = "ended"


class GatewayState(StrEnum):
    """Whether a gateway answers us. UNKNOWN until its process tried."""

    UNKNOWN = "unknown"
    CONNECTED = "connected"
    AWAY = "away"


class Reason(StrEnum):
    """Why an attempt ended as it did. `diagnosis.reasons` has cause, fix and NPS's code for each."""

    GRANTED = "granted"
    USER_DENIED = "user_denied"
    DEVICE_DENIED = "device_denied"
    USER_UNKNOWN = "user_unknown"
    USER_DISABLED = "user_disabled"
    DEVICE_UNKNOWN = "device_unknown"
    DEVICE_DISABLED = "device_disabled"
    DEVICE_NOT_ASSIGNED = "device_not_assigned"
    DEVICE_PROOF_FAILED = "device_proof_failed"
    SIGN_IN_FAILED = "sign_in_failed"
    CODE_NEEDED = "code_needed"
    CODE_WRONG = "code_wrong"
    TOO_MANY_SIGN_INS = "too_many_sign_ins"
    IDENTITY_MISMATCH = "identity_mismatch"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_ON_HOLD = "certificate_on_hold"
    CERTIFICATE_FOREIGN = "certificate_foreign"
    CERTIFICATE_UNKNOWN = "certificate_unknown"
    CERTIFICATE_WRONG_KIND = "certificate_wrong_kind"
    CERTIFICATE_WITHOUT_USAGE = "certificate_without_usage"
    CERTIFICATE_USAGE_DEMANDED = "certificate_usage_demanded"
    KEY_NOT_PROVEN = "key_not_proven"
    NO_NETWORK_POLICY = "no_network_policy"
    NETWORK_POLICY_DENIES = "network_policy_denies"
    NO_ACCESS_POLICY = "no_access_policy"
    BLOCKED_BY_ACCESS_POLICY = "blocked_by_access_policy"
    SIGN_IN_TOO_OLD = "sign_in_too_old"
    MFA_REQUIRED = "mfa_required"
    AUTHENTICATION_TOO_WEAK = "authentication_too_weak"
    LIFETIME_TOO_SHORT = "lifetime_too_short"
    DEVICE_NOT_COMPLIANT = "device_not_compliant"
    DEVICE_NOT_DOMAIN_JOINED = "device_not_domain_joined"
    DEVICE_TUNNEL_NOT_UP = "device_tunnel_not_up"
    PASSWORD_CHANGE_REQUIRED = "password_change_required"  # noqa: S105
    TERMS_OF_USE_NOT_ACCEPTED = "terms_of_use_not_accepted"
    ACCESS_CONTROL_UNKNOWN = "access_control_unknown"
    METHOD_REFUSED = "method_refused"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MSCHAPV2_SWITCHED_OFF = "mschapv2_switched_off"
    PASSWORD_WRONG = "password_wrong"  # noqa: S105
    PASSWORD_EXPIRED = "password_expired"  # noqa: S105
    PASSWORD_CHANGE_FAILED = "password_change_failed"  # noqa: S105
    OUTER_IDENTITY_MISMATCH = "outer_identity_mismatch"
    CRYPTO_BINDING_MISSING = "crypto_binding_missing"
    CRYPTO_BINDING_WRONG = "crypto_binding_wrong"
    TLS_FAILED = "tls_failed"
    CLIENT_STOPPED = "client_stopped"
    TOO_MANY_ROUNDS = "too_many_rounds"
    TOO_MANY_FAILURES = "too_many_failures"
    DEVICE_REFUSED_AT_GATE = "device_refused_at_gate"
    GATE_SILENT = "gate_silent"
    GATEWAY_DISABLED = "gateway_disabled"
    TUNNEL_NOT_RECOGNISED = "tunnel_not_recognised"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class User:
    """A person. `name` is the user principal name; `groups` holds ids, nested ones included."""

    id: str
    name: str
    enabled: bool = True
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Device:
    """A computer. `name` is its DNS name; `users` are the ids of those it is assigned to."""

    id: str
    name: str
    enabled: bool = True
    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a decision needs to know of a certificate; the DER stays in storage.

    `methods` are those of the sign-in it was granted after, at `signed_in_at`; both empty when nobody signed in.
    """

    id: str
    authority: Authority
    serial: int
    kind: CertificateKind
    status: CertificateStatus
    not_after: datetime
    user_id: str | None = None
    device_id: str | None = None
    gateway_id: str | None = None
    methods: tuple[str, ...] = ()
    signed_in_at: datetime | None = None


# How often gateways say what they counted so far. Three times without a word is a silence.
ACCOUNTING_INTERVAL_SECONDS = 300

# A RADIUS State names its worker in one octet; each worker holds all users and devices in memory.
RADIUS_WORKERS_AT_MOST = 64


@dataclass(frozen=True, slots=True)
class Gateway:
    """A VPN server that asks us, from `radius_address`: an address, or a network that it is all of; empty: from none.

    A `foreign` one only asks: nobody of ours looks after it. With `radsec` it may ask over TLS.
    """

    id: str
    name: str
    radius_address: str
    enabled: bool = True
    foreign: bool = False
    radsec: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known: value, where from, seen when, until when it counts (None: no end), and why where it follows."""

    name: str
    value: str
    source: str
    observed_at: datetime
    expires_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What one policy said. `result` is Entra's word: success, failure, notApplied, notEnabled, reportOnly..."""

    policy: str
    kind: str
    result: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Outcome, the reason that decided, every policy's result, and settings to enforce when granted.

    `lifetime_seconds` is how long what was granted may last before the person must sign in again; None is no bound.
    """

    outcome: Outcome
    reason: Reason
    detail: str
    results: tuple[PolicyResult, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    lifetime_seconds: int | None = None

    @property
    def granted(self) -> bool:
        """Whether access was granted. Nothing but GRANTED counts."""
        return self.outcome is Outcome.GRANTED


class Step(NamedTuple):
    """One rung of an attempt's ladder: milliseconds since it began, and what happened."""

    at_ms: float
    text: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The record of one try to connect. `methods` are those that succeeded at a sign-in that was part of it.

    `facts` are what was decided from, as access.recorded_facts writes them; None where nothing was decided. `login`
    is how a user tunnel's login went, as servers.logins writes it and diagnosis.ladder puts it into words.
    """

    id: str
    at: datetime
    kind: AttemptKind
    outcome: Outcome
    reason: Reason
    detail: str = ""
    gateway_id: str | None = None
    user_id: str | None = None
    device_id: str | None = None
    certificate_id: str | None = None
    session_id: str | None = None
    claimed_identity: str = ""
    client_address: str = ""
    duration_ms: float = 0.0
    steps: tuple[Step, ...] = ()
    results: tuple[PolicyResult, ...] = ()
    methods: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None
    login: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A tunnel that is up, or was. `unique_id` is the IKE_SA's number on its gateway, which a rekey changes."""

    id: str
    kind: TunnelKind
    state: SessionState
    gateway_id: str
    unique_id: int
    created_at: datetime
    user_id: str | None = None
    device_id: str | None = None
    certificate_id: str | None = None
    attempt_id: str | None = None
    remote_address: str = ""
    virtual_addresses: str = ""
    spis: str = ""
    method: LoginMethod | None = None  # of a user tunnel
    crypto_bound: bool | None = None  # of one within PEAP
