"""Take a denial back: the hold on certificates is released and gateways forget what they remember of them."""

from datetime import datetime

from evertunnel.actions.deny import HOLD, verify_deniable
from evertunnel.audit import Audit, AuditEntry
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.errors import NotFoundError
from evertunnel.model import CertificateStatus, SubjectKind
from evertunnel.storage import certificates, denials, effect_queue, gateways, people, sessions
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow

_AUDIT = {SubjectKind.USER: Audit.USER_ALLOW, SubjectKind.DEVICE: Audit.DEVICE_ALLOW}
# Who lifts a denial that had an end.
_TIME = "its end"
_COLUMN = {SubjectKind.USER: "user_id", SubjectKind.DEVICE: "device_id"}


def allow(store: Store, kind: SubjectKind, name: str, *, actor: str, now: datetime) -> None:
    """Lift every standing denial of a user or device. Revoked certificates stay revoked.

    Raises NotFoundError, InvalidInputError.
    """
    verify_deniable(kind)
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, kind, name)
        if not denials.lift_denials(tx, row.id, actor=actor):
            raise NotFoundError(f"{row.name} is not denied")
        release_subject(tx, kind, row, actor=actor, cause="allowed again")


def release_subject(tx: Transaction, kind: SubjectKind, row: AnyRow, *, actor: str, cause: str) -> None:
    """A denial was lifted in this transaction: give back what no other denial still holds."""
    tx.raise_epoch(kind.value, row.id)
    held = [
        certificate
        for certificate in certificates.list_of_subject(
            tx.connection, _COLUMN[kind], row.id, [CertificateStatus.ON_HOLD.value]
        )
        if certificate.revocation_reason == HOLD
        # A certificate of a user on a device stays held while the other of the two is denied.
        and not any(
            denials.find_standing(tx.connection, owner, tx.now)
            for owner in (certificate.user_id, certificate.device_id)
            if owner
        )
    ]
    signed = [certificate.id for certificate in held if certificate.certificate_der is not None]
    never_signed = [certificate.id for certificate in held if certificate.certificate_der is None]
    certificates.change_status(tx, signed, CertificateStatus.VALID, reason=None)
    certificates.change_status(tx, never_signed, CertificateStatus.REVOKED, reason="cessation of operation")
    for certificate in held:
        tx.raise_epoch("certificate", certificate.id)
    effect_queue.drop_effects(tx, row.id)
    _give_back_sessions(tx, kind, row.id)
    effect_queue.queue_effect(
        tx,
        EffectKind.FLUSH,
        [gateway.id for gateway in gateways.list_gateways(tx.connection)],
        EffectSubject(kind.value),
        row.id,
        cause=cause,
    )
    tx.record(AuditEntry(_AUDIT[kind], actor, row.name, row.id, {"certificates": len(signed), "cause": cause}))


def _give_back_sessions(tx: Transaction, kind: SubjectKind, subject_id: str) -> None:
    """Tunnels that nobody cut yet stay, unless something else ends them. The raised epoch decides them again."""
    live = sessions.list_live_of_subject(tx.connection, kind, subject_id)
    owners = {owner for session in live for owner in (session.user_id, session.device_id) if owner}
    denied = {owner for owner in owners if denials.find_standing(tx.connection, owner, tx.now)}
    lost = effect_queue.list_pending_subjects(tx.connection, [session.id for session in live])
    sessions.unmark_ending(
        tx,
        [
            session.id
            for session in live
            if session.id not in lost and not denied & {session.user_id, session.device_id}
        ],
    )
