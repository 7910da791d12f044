"""Somebody finished an EAP method, or failed to: decide, and record the attempt and the session it may open."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from evertunnel.access.facts import Facts
from evertunnel.access.login_names import names_user
from evertunnel.access.recorded_facts import encode_facts
from evertunnel.actions.decide import Decider
from evertunnel.model import (
    Attempt,
    AttemptKind,
    AuthenticationMethod,
    Certificate,
    Decision,
    Gateway,
    LoginMethod,
    Outcome,
    Reason,
    Session,
    SessionState,
    Step,
    TunnelKind,
)
from evertunnel.storage import sessions
from evertunnel.storage.store import Transaction, new_id

# A decision of the same epoch is made anew after this, for facts may have run out.
_FRESH = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided when the key was proven, from what, and at which epoch."""

    epoch: int
    facts: Facts
    decision: Decision


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What a gateway and a client said and proved. `certificate` is None when none of ours was proven.

    `password_user_id` is who proved a password instead, at `proven_at`, and `password_mark` which one.
    `inner_identity` is what the client called itself inside a tunnel, None where there was no tunnel; `crypto_bound` is
    as in access.facts.
    `story` is how it went, as model.Attempt.login.
    """

    began_at: datetime
    gateway: Gateway
    unique_id: int
    claimed_identity: str
    client_address: str
    certificate: Certificate | None
    steps: tuple[Step, ...]
    duration_ms: float
    decided: Decided | None = None
    method: LoginMethod | None = None
    password_user_id: str | None = None
    password_mark: bytes = field(default=b"", repr=False)
    proven_at: datetime | None = None
    inner_identity: str | None = None
    crypto_bound: bool | None = None
    story: Mapping[str, Any] | None = None


def decide_login(decider: Decider, login: LoginFacts, *, now: datetime) -> tuple[Facts, Decision]:
    """The decision about a proven certificate or password, from the state in memory. Nothing is recorded."""
    # Looked up again: the login may have found its certificate before that was put on hold.
    certificate = decider.find_certificate_by_id(login.certificate.id) if login.certificate else None
    facts = decider.gather_facts(
        at=now,
        tunnel=TunnelKind.USER,
        gateway=login.gateway,
        certificate=certificate,
        client_address=login.client_address,
        login_method=login.method,
        crypto_bound=login.crypto_bound,
        **_describe_password(decider, login),
    )
    refusal = None if facts.user is None else _find_name_refusal(login, facts.user.name)
    decision = refusal or decider.decide_tunnel(facts)
    user_id = login.password_user_id
    if decision.granted and user_id is not None and decider.find_password_mark(user_id) != login.password_mark:
        # Who is slow may keep a login open for an hour after the proof.
        decision = Decision(Outcome.REFUSED, Reason.PASSWORD_WRONG, "the password was changed during the login")
    return facts, decision


def record_login(tx: Transaction, decider: Decider, login: LoginFacts) -> tuple[Decision, Attempt]:
    """Decide and record the result; a grant opens a pending session. The decider is at this transaction's epoch."""
    facts, decision = _find_decision(decider, login, tx.now) or decide_login(decider, login, now=tx.now)
    attempt = build_attempt(login, decision, facts)
    if decision.granted:
        attempt = replace(attempt, session_id=new_id())
        sessions.insert_session_later(tx, _build_session(attempt, login, tx.now))
    tx.record_attempt(attempt)
    return decision, attempt


def record_failure(tx: Transaction, login: LoginFacts, decision: Decision) -> Attempt:
    """Record an attempt that ended before there was anything to decide, or was refused on the way."""
    # Over an error of ours nothing is kept that the error may be in.
    decided = None if decision.reason is Reason.INTERNAL_ERROR else login.decided
    attempt = build_attempt(login, decision, decided.facts if decided else None)
    tx.record_attempt(attempt)
    return attempt


def _find_decision(decider: Decider, login: LoginFacts, now: datetime) -> tuple[Facts, Decision] | None:
    """The one that was made, if nothing changed and no time passed since."""
    decided = login.decided
    if decided is None or decided.epoch != decider.epoch or not timedelta(0) <= now - decided.facts.at < _FRESH:
        return None
    certificate = decided.facts.certificate
    if certificate is not None and now >= certificate.not_after:
        return None
    return decided.facts, decided.decision


def build_attempt(login: LoginFacts, decision: Decision, facts: Facts | None = None) -> Attempt:
    """The record of a login. Owner and device come from the certificate, never from what was claimed."""
    certificate = login.certificate
    return Attempt(
        id=new_id(),
        at=login.began_at,
        kind=AttemptKind.USER_TUNNEL,
        outcome=decision.outcome,
        reason=decision.reason,
        detail=decision.detail,
        gateway_id=login.gateway.id,
        user_id=certificate.user_id if certificate else login.password_user_id,
        device_id=certificate.device_id if certificate else None,
        certificate_id=certificate.id if certificate else None,
        claimed_identity=login.claimed_identity[:256],
        client_address=login.client_address[:64],
        duration_ms=login.duration_ms,
        steps=login.steps,
        results=decision.results,
        methods=() if login.password_user_id is None else (AuthenticationMethod.PASSWORD.value,),
        facts=encode_facts(facts, attempt_at=login.began_at) if facts is not None else None,
        login=login.story,
    )


def _build_session(attempt: Attempt, login: LoginFacts, now: datetime) -> Session:
    assert attempt.session_id is not None
    return Session(
        id=attempt.session_id,
        kind=TunnelKind.USER,
        state=SessionState.PENDING,
        gateway_id=login.gateway.id,
        unique_id=login.unique_id,
        created_at=now,
        user_id=attempt.user_id,
        device_id=attempt.device_id,
        certificate_id=attempt.certificate_id,
        attempt_id=attempt.id,
        remote_address=attempt.client_address,
        method=login.method,
        crypto_bound=login.crypto_bound,
    )


def _describe_password(decider: Decider, login: LoginFacts) -> dict[str, Any]:
    """Who proved a password: one factor, proven now. It says nothing of any device."""
    if login.password_user_id is None:
        return {}
    return {
        "user": decider.find_user(login.password_user_id),
        "methods": (AuthenticationMethod.PASSWORD.value,),
        "signed_in_at": login.proven_at,
    }


def _find_name_refusal(login: LoginFacts, user_name: str) -> Decision | None:
    """What a client calls itself is this user or nobody, outside its tunnel and inside."""
    claimed = login.claimed_identity if login.inner_identity is None else login.inner_identity
    whose = "certificate belongs to" if login.password_user_id is None else "password is that of"
    if not names_user(claimed, user_name):
        detail = f"the client called itself {claimed!r}; the {whose} {user_name}"
        return Decision(Outcome.REFUSED, Reason.IDENTITY_MISMATCH, detail)
    if not names_user(login.claimed_identity, user_name):
        detail = f"outside its tunnel the client called itself {login.claimed_identity!r}; the {whose} {user_name}"
        return Decision(Outcome.REFUSED, Reason.OUTER_IDENTITY_MISMATCH, detail)
    return None
