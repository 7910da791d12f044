"""Deny a user or device now: one transaction, after which nothing new is granted and every live tunnel is to be cut."""

from datetime import datetime, timedelta

from evertunnel.audit import Audit, AuditEntry
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.model import CertificateStatus, SubjectKind
from evertunnel.storage import certificates, denials, effect_queue, gateways, people, sessions
from evertunnel.storage.store import Store

_AUDIT = {SubjectKind.USER: Audit.USER_DENY, SubjectKind.DEVICE: Audit.DEVICE_DENY}
_COLUMN = {SubjectKind.USER: "user_id", SubjectKind.DEVICE: "device_id"}
HOLD = "certificate hold"
# Later ones leave what a database and a calendar can hold.
_LONGEST = timedelta(days=36_525)
WITHDRAWN = "privilege withdrawn"


def verify_deniable(kind: SubjectKind) -> None:
    """Raise InvalidInputError for a group: who is in it changes, and a denial stands on one immutable id."""
    if kind not in _AUDIT:
        raise InvalidInputError(f"a {kind.value} cannot be denied: deny a user or device, or add a network policy")


def deny(
    store: Store,
    kind: SubjectKind,
    name: str,
    *,
    reason: str,
    until: datetime | None = None,
    revoke: bool = False,
    actor: str,
    now: datetime,
) -> str:
    """Return the denial's id. It stands on the immutable id: renaming or re-enrolling does not shake it off.

    Certificates go on hold, or with `revoke` are revoked for good; not those that ended long ago.

    Raises NotFoundError, InvalidInputError, AlreadyExistsError when a denial stands that lasts as long.
    """
    if not reason.strip():
        raise InvalidInputError("give a reason: whoever reads the record later will want it")
    if until is not None and until <= now:
        raise InvalidInputError("the end of the denial is in the past")
    if until is not None and until - now > _LONGEST:
        raise InvalidInputError("the end of the denial is more than a hundred years away: leave it out to have none")
    verify_deniable(kind)
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, kind, name)
        standing = denials.find_standing(tx.connection, row.id, tx.now)
        longer = standing is not None and standing.until is not None and (until is None or until > standing.until)
        if standing is not None and not revoke and not longer:
            raise AlreadyExistsError(
                f"{row.name} is denied already, since {standing.denied_at:%F %T} UTC: {standing.reason}"
            )
        denial_id = denials.insert_denial(tx, kind, row.id, reason=reason, actor=actor, until=until)
        tx.raise_epoch(kind.value, row.id)
        affected = certificates.list_lasting_of_subject(
            tx.connection,
            _COLUMN[kind],
            row.id,
            [CertificateStatus.VALID.value, CertificateStatus.GRANTED.value]
            + ([CertificateStatus.ON_HOLD.value] if revoke else []),
            tx.now,
        )
        certificates.change_status(
            tx,
            [certificate.id for certificate in affected],
            CertificateStatus.REVOKED if revoke else CertificateStatus.ON_HOLD,
            reason=WITHDRAWN if revoke else HOLD,
        )
        for certificate in affected:
            tx.raise_epoch("certificate", certificate.id)
        live = sessions.list_live_of_subject(tx.connection, kind, row.id)
        sessions.mark_ending(tx, [session.id for session in live], f"denied: {reason}")
        effect_queue.queue_effect(
            tx,
            EffectKind.CUT,
            [gateway.id for gateway in gateways.list_gateways(tx.connection)],
            EffectSubject(kind.value),
            row.id,
            cause=f"denied: {reason}",
            denial_id=denial_id,
        )
        tx.record(
            AuditEntry(
                _AUDIT[kind],
                actor,
                row.name,
                row.id,
                {
                    "reason": reason,
                    "until": until.isoformat() if until else None,
                    "certificates": len(affected),
                    "sessions": len(live),
                    "revoked": revoke,
                },
            )
        )
    return denial_id
