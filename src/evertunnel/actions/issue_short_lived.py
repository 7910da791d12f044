"""A short-lived certificate: a proven device key over this very request, a sign-in, then conditional access decides.

The order matters. The device's signature is checked first: it costs little, and nobody without a device of ours can
make us hash passwords or guess them.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature

from evertunnel.access.facts import Facts
from evertunnel.access.recorded_facts import encode_facts
from evertunnel.actions.check_code import Unseal, check_code
from evertunnel.actions.decide import Decider
from evertunnel.actions.issue_certificate import Issued, Signer, Wanted, fetch_certificate, grant_certificate
from evertunnel.actions.verify_device_signature import verify_device_signature
from evertunnel.errors import AccessDeniedError, CodeNeededError, InvalidInputError
from evertunnel.model import (
    Attempt,
    AttemptKind,
    AuthenticationMethod,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Decision,
    Device,
    Outcome,
    Reason,
    Step,
    SubjectKind,
    User,
)
from evertunnel.passwords import check_password
from evertunnel.pki.kinds import KINDS, SHORT_LIVED_FLOOR_SECONDS
from evertunnel.pki.requests import decode_request
from evertunnel.protocols.enrolment import build_signed_text
from evertunnel.storage import attempts, people
from evertunnel.storage.store import Store, Transaction, new_id
from evertunnel.storage.tables import AnyRow

_USUAL_SECONDS = KINDS[CertificateKind.SHORT_LIVED].default_lifetime_seconds
_FAILED_SIGN_INS = (Reason.SIGN_IN_FAILED, Reason.CODE_WRONG)
_FAILED_SIGN_INS_AT_MOST = 5
_FAILED_SIGN_INS_WITHIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ShortLivedRequest:
    """What a client sends. `nonce` is one we gave out and used up by now; `code` is empty until it is asked for."""

    user_name: str
    password: str
    csr_der: bytes
    device_certificate_der: bytes
    device_signature: bytes
    nonce: bytes
    client_address: str
    code: str = ""


def issue_short_lived(
    store: Store,
    signer: Signer,
    decider: Decider,
    request: ShortLivedRequest,
    *,
    unseal: Unseal,
    now: datetime,
    records_strangers: Callable[[], bool] = lambda: True,
) -> Issued:
    """Decide, record, grant and sign. Who proved no device of ours is recorded only while `records_strangers` says so.

    It lasts an hour, or as long as the decision allows if that is less; less than two minutes is refused.

    A code is asked for (CodeNeededError) only when the password was right: nobody else learns who has an app.

    Raises AccessDeniedError (recorded as an attempt), InvalidInputError, UnavailableError.
    """
    began = time.monotonic()
    steps: list[Step] = []
    methods: tuple[str, ...] = ()

    def note(text: str) -> None:
        steps.append(Step(round((time.monotonic() - began) * 1000, 1), text))

    public_key_der = decode_request(request.csr_der)
    with store.read() as connection:
        decider.refresh(connection)
        user_row = people.find_subject(connection, SubjectKind.USER, request.user_name)
    note(f"request for {request.user_name!r}, its key proven by the request's own signature")
    refusal, certificate = _prove_device(decider, request, now)
    if refusal is not None and certificate is None and not records_strangers():
        raise AccessDeniedError(refusal.detail)
    if refusal is None:
        note("the device proved its key over this request")
        if _count_failed_sign_ins(store, certificate, now) >= _FAILED_SIGN_INS_AT_MOST:
            refusal = Decision(
                Outcome.REFUSED,
                Reason.TOO_MANY_SIGN_INS,
                f"{_FAILED_SIGN_INS_AT_MOST} sign-ins failed on this device within five minutes",
            )
        elif not check_password(user_row.password_hash if user_row else None, request.password):
            refusal = Decision(Outcome.REFUSED, Reason.SIGN_IN_FAILED, "user name or password is wrong")
        else:
            methods = (AuthenticationMethod.PASSWORD.value,)
            note(f"the password of {request.user_name} is right")
    with store.write(now) as tx:
        decider.refresh(tx.connection)
        user = decider.find_user(user_row.id if user_row else None)
        # Looked at again: hashing a password takes long enough for the certificate or the password to be taken away.
        certificate = decider.find_certificate_by_id(certificate.id) if certificate else None
        device = decider.find_device(certificate.device_id if certificate else None)
        refusal = refusal or _find_taken_away(tx, decider, user_row, certificate)
        if refusal is None and user is not None:
            right, refusal = check_code(tx, user.id, request.code, unseal)
            if right:
                methods += (AuthenticationMethod.TOTP.value,)
                note("the code of the authenticator app is right")
        decision, facts = (refusal, None) if refusal else _decide(decider, user, device, request, methods, tx.now)
        decision = _bound(decision)
        attempt = Attempt(
            id=new_id(),
            at=tx.now,
            kind=AttemptKind.CERTIFICATE,
            outcome=decision.outcome,
            reason=decision.reason,
            detail=decision.detail,
            user_id=user.id if user and decision.reason is not Reason.DEVICE_PROOF_FAILED else None,
            device_id=device.id if device else None,
            claimed_identity=request.user_name[:256],
            client_address=request.client_address,
            duration_ms=(time.monotonic() - began) * 1000,
            steps=(*steps, Step(round((time.monotonic() - began) * 1000, 1), decision.detail)),
            results=decision.results,
            methods=methods,
            facts=encode_facts(facts) if facts is not None else None,
        )
        certificate_id = ""
        if decision.granted:
            assert user is not None
            assert device is not None
            certificate_id = _grant(tx, user, device, public_key_der, attempt, decision.lifetime_seconds)
        tx.record_attempt(attempt)
    if decision.reason is Reason.CODE_NEEDED:
        raise CodeNeededError(decision.detail, attempt_id=attempt.id, public="A code is needed besides the password.")
    if not decision.granted:
        raise AccessDeniedError(decision.detail, attempt_id=attempt.id)
    try:
        return fetch_certificate(store, signer, certificate_id)
    except InvalidInputError as error:
        # Taken back between the grant and its signing; why is nothing an outsider may read.
        raise AccessDeniedError(str(error), attempt_id=attempt.id) from error


def _bound(decision: Decision) -> Decision:
    """Refuse what would last too short to be of use: a bound is never stretched, and no certificate ends at once."""
    bound = decision.lifetime_seconds
    if not decision.granted or bound is None or bound >= SHORT_LIVED_FLOOR_SECONDS:
        return decision
    detail = (
        f"{decision.detail}, for {max(bound, 0)} seconds; no certificate is given for less than "
        f"{SHORT_LIVED_FLOOR_SECONDS}"
    )
    return Decision(Outcome.REFUSED, Reason.LIFETIME_TOO_SHORT, detail, decision.results)


def _grant(
    tx: Transaction,
    user: User,
    device: Device,
    public_key_der: bytes,
    attempt: Attempt,
    lifetime_seconds: int | None,
) -> str:
    wanted = Wanted(
        kind=CertificateKind.SHORT_LIVED,
        name=user.name,
        public_key_der=public_key_der,
        user_id=user.id,
        device_id=device.id,
        attempt_id=attempt.id,
        methods=attempt.methods,
        signed_in_at=attempt.at,
        lifetime_seconds=_USUAL_SECONDS if lifetime_seconds is None else min(_USUAL_SECONDS, lifetime_seconds),
    )
    return grant_certificate(tx, wanted, actor=f"conditional access for {user.name}")


def _prove_device(
    decider: Decider, request: ShortLivedRequest, now: datetime
) -> tuple[Decision | None, Certificate | None]:
    """A refusal, or the device certificate whose key signed this request."""
    fingerprint = hashlib.sha256(request.device_certificate_der).digest()
    certificate = decider.find_certificate_by_fingerprint(fingerprint)
    if certificate is None or certificate.kind is not CertificateKind.DEVICE:
        return _proof_failed("the certificate shown is not a device certificate of ours"), None
    signed = build_signed_text(nonce=request.nonce, user_name=request.user_name, csr_der=request.csr_der)
    try:
        verify_device_signature(request.device_certificate_der, request.device_signature, signed)
    except (InvalidSignature, InvalidInputError, ValueError):
        return _proof_failed("the device did not sign this request with its key"), None
    return _find_certificate_refusal(decider, certificate, now), certificate


def _find_certificate_refusal(decider: Decider, certificate: Certificate, now: datetime) -> Decision | None:
    if certificate.status is not CertificateStatus.VALID and not _is_denied(decider, certificate, now):
        return _proof_failed(f"the device certificate is {certificate.status.value}")
    if now >= certificate.not_after:
        return _proof_failed("the device certificate has ended")
    return None


def _find_taken_away(
    tx: Transaction, decider: Decider, user_row: AnyRow | None, certificate: Certificate | None
) -> Decision | None:
    """What was proven before this transaction began and is no longer so."""
    if certificate is None or user_row is None:
        return None
    current = people.find_subject(tx.connection, SubjectKind.USER, user_row.id)
    if current is None or current.password_hash != user_row.password_hash:
        return Decision(Outcome.REFUSED, Reason.SIGN_IN_FAILED, "the password was changed meanwhile")
    return _find_certificate_refusal(decider, certificate, tx.now)


def _decide(
    decider: Decider,
    user: User | None,
    device: Device | None,
    request: ShortLivedRequest,
    methods: tuple[str, ...],
    now: datetime,
) -> tuple[Decision, Facts | None]:
    if user is None:
        return Decision(Outcome.REFUSED, Reason.USER_UNKNOWN, "the user is gone"), None
    if device is None:
        return Decision(Outcome.REFUSED, Reason.DEVICE_UNKNOWN, "the device is gone"), None

    def gather(at: datetime) -> Facts:
        return decider.gather_facts(
            at=at,
            tunnel=None,
            user=user,
            device=device,
            client_address=request.client_address,
            methods=methods,
            signed_in_at=now,
        )

    facts = gather(now)
    decision = decider.decide_certificate(facts)
    if decision.granted:
        decision = _bound_by_facts(decision, facts, lambda at: decider.decide_certificate(gather(at)).granted)
    return decision, facts


def _bound_by_facts(decision: Decision, facts: Facts, is_granted: Callable[[datetime], bool]) -> Decision:
    """Let it last to the first end of a fact from which on it would be refused.

    What is known ends at these moments alone: between them nothing changes that a decision looks at.
    """
    lifetime = _USUAL_SECONDS if decision.lifetime_seconds is None else decision.lifetime_seconds
    until = facts.at + timedelta(seconds=lifetime)
    told = (*facts.device_facts.values(), *facts.user_facts.values())
    ends = {fact.expires_at for said in told for fact in said if fact.expires_at is not None}
    end = next((each for each in sorted(ends) if facts.at < each < until and not is_granted(each)), None)
    if end is None:
        return decision
    seconds = int((end - facts.at).total_seconds())
    detail = f"{decision.detail}, until a fact ends that it rests on"
    return replace(decision, detail=detail, lifetime_seconds=seconds)


def _count_failed_sign_ins(store: Store, certificate: Certificate | None, now: datetime) -> int:
    """Failures on this device. Only a device that proved its key gets here, and only it is held back.

    Whatever name was claimed: each way to write one, or one user after the other, would be five more guesses.
    """
    assert certificate is not None
    with store.read() as connection:
        return attempts.count_failures(
            connection,
            device_id=certificate.device_id,
            reasons=_FAILED_SIGN_INS,
            since=now - _FAILED_SIGN_INS_WITHIN,
        )


def _is_denied(decider: Decider, certificate: Certificate, now: datetime) -> bool:
    """A device on hold because it is denied gets that reason, not the one of its certificate."""
    device = decider.find_device(certificate.device_id)
    return bool(decider.gather_facts(at=now, tunnel=None, device=device).device_denial)


def _proof_failed(detail: str) -> Decision:
    return Decision(Outcome.REFUSED, Reason.DEVICE_PROOF_FAILED, detail)
