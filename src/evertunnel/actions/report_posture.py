"""A device reports its own posture, signed with the key of its certificate over this very report.

The signature says which device speaks, not that it speaks the truth: who rules a device can make it say anything. So
these facts have the source `device`, the least trusted there is, and a life of a day. Said again, a fact lives on: at
least 18 hours from the last report, at most 24.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature

from evertunnel.access.fact_names import SAID_BY_DEVICES, get_fact_name, read_value
from evertunnel.access.fact_sources import DEVICE
from evertunnel.actions.decide import Decider
from evertunnel.actions.store_facts import store_facts
from evertunnel.actions.verify_device_signature import verify_device_signature
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AccessDeniedError, InvalidInputError, UnavailableError
from evertunnel.model import Certificate, CertificateKind, CertificateStatus, Fact, SubjectKind
from evertunnel.protocols.enrolment import build_signed_report
from evertunnel.storage import facts
from evertunnel.storage.store import Store

LIFE = timedelta(hours=24)
# Whoever says the same again is believed longer, in steps: each is a change that all decisions follow.
_STEP = timedelta(hours=6)
_PUBLIC = "The report was refused."


@dataclass(frozen=True, slots=True)
class PostureReport:
    """What a device sends. `nonce` is one we gave out at `nonce_given_at` and have used up by now."""

    posture_json: bytes
    device_certificate_der: bytes
    device_signature: bytes
    nonce: bytes
    nonce_given_at: datetime


def find_reporting_device(decider: Decider, report: PostureReport, *, now: datetime) -> Certificate:
    """The device certificate whose key signed a report. Raises AccessDeniedError. The decider is up to date."""
    fingerprint = hashlib.sha256(report.device_certificate_der).digest()
    certificate = decider.find_certificate_by_fingerprint(fingerprint)
    if certificate is None or certificate.kind is not CertificateKind.DEVICE:
        raise _refuse("the certificate shown is not a device certificate of ours")
    signed = build_signed_report(nonce=report.nonce, posture_json=report.posture_json)
    try:
        verify_device_signature(report.device_certificate_der, report.device_signature, signed)
    except (InvalidSignature, InvalidInputError, ValueError):
        raise _refuse("the device did not sign this report with its key") from None
    _verify_in_force(decider, certificate, now)
    return certificate


def report_posture(
    store: Store,
    decider: Decider,
    report: PostureReport,
    *,
    now: datetime,
    allows: Callable[[str], bool] = lambda _device_id: True,
) -> None:
    """Keep the posture as all that the device says of itself: what it does not name any more is unknown.

    It counts as seen when its nonce was given: a report held back on its way does not replace one made after it.
    `allows` says whether a device, by id, may report again already.
    Raises AccessDeniedError, InvalidInputError, UnavailableError.
    """
    with store.read() as connection:
        decider.refresh(connection)
    certificate = find_reporting_device(decider, report, now=now)
    if not allows(certificate.device_id or ""):
        raise UnavailableError("the device reports too often")
    values = read_posture(report.posture_json)
    with store.write(now) as tx:
        decider.refresh(tx.connection)
        current = decider.find_certificate_by_id(certificate.id)
        device = decider.find_device(current.device_id if current else None)
        if current is None or device is None:
            raise _refuse("the device is gone")
        _verify_in_force(decider, current, tx.now)
        seen = report.nonce_given_at
        before = [
            fact for fact in facts.list_facts(tx.connection, SubjectKind.DEVICE, device.id) if fact.source == DEVICE
        ]
        # A moment ahead of us is of a clock that was set back since.
        if any(seen < fact.observed_at <= tx.now for fact in before):
            raise _refuse(f"{device.name} reported something newer since")
        said = _build_facts(values, before, seen)
        store_facts(tx, SubjectKind.DEVICE, {device.id: said}, whole_source=DEVICE)
        if {fact.name: fact.value for fact in before} != values:
            tx.record(
                AuditEntry(Audit.DEVICE_REPORT, device.name, device.name, device.id, {**values, "source": DEVICE})
            )


def _build_facts(values: Mapping[str, str], before: Sequence[Fact], seen: datetime) -> list[Fact]:
    """What is said as before keeps its end while that is far: then nothing is decided anew for the report's sake."""
    ends = {fact.name: fact.expires_at for fact in before if values.get(fact.name) == fact.value}
    found = []
    for name, value in values.items():
        end = ends.get(name)
        far = end is not None and LIFE - _STEP <= end - seen <= LIFE
        found.append(Fact(name, value, DEVICE, seen, end if far else seen + LIFE))
    return found


def read_posture(posture_json: bytes) -> dict[str, str]:
    """Values by fact name; null is left out. Raises InvalidInputError."""
    try:
        document = json.loads(posture_json)
    except (ValueError, RecursionError):
        raise InvalidInputError("the posture is not JSON in UTF-8") from None
    if not isinstance(document, dict) or not document:
        raise InvalidInputError("the posture must be an object of facts by name")
    values = {}
    for name, value in document.items():
        if name not in SAID_BY_DEVICES:
            known = ", ".join(sorted(SAID_BY_DEVICES))
            raise InvalidInputError(f"{name[:80]!r} is nothing a device may say of itself; it may say {known}")
        if value is not None:
            text = ("true" if value else "false") if isinstance(value, bool) else value
            if not isinstance(text, str):
                raise InvalidInputError(f"{name}: must be true, false or a text")
            values[name] = read_value(get_fact_name(SubjectKind.DEVICE, name), text)
    return values


def _verify_in_force(decider: Decider, certificate: Certificate, now: datetime) -> None:
    if certificate.status is not CertificateStatus.VALID:
        raise _refuse(f"the device certificate is {certificate.status.value}")
    if now >= certificate.not_after:
        raise _refuse("the device certificate has ended")
    device = decider.find_device(certificate.device_id)
    if device is None or not device.enabled:
        raise _refuse("the device is disabled or gone")


def _refuse(text: str) -> AccessDeniedError:
    return AccessDeniedError(text, public=_PUBLIC)
