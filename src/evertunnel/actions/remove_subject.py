"""Remove a user or device for good. Whoever is added under that name later is somebody else."""

from datetime import datetime

from evertunnel.actions.policy_references import verify_unnamed
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import CertificateStatus, SubjectKind
from evertunnel.storage import certificates, denials, people, sessions
from evertunnel.storage.snapshot import CERTIFICATE
from evertunnel.storage.store import Store

_AUDIT = {SubjectKind.USER: Audit.USER_REMOVE, SubjectKind.DEVICE: Audit.DEVICE_REMOVE}
_COLUMN = {SubjectKind.USER: "user_id", SubjectKind.DEVICE: "device_id"}
_USABLE = [status.value for status in CertificateStatus if status is not CertificateStatus.REVOKED]


def remove_subject(store: Store, kind: SubjectKind, name: str, *, actor: str, now: datetime) -> None:
    """Certificates are revoked and stay on record without an owner; attempts and sessions keep the id.

    Raises NotFoundError; InvalidInputError while a policy names it, or while it has live sessions and no denial
    has set about ending them.
    """
    if kind not in _AUDIT:
        raise InvalidInputError("only users and devices are removed so: a group goes by `evertunnel group remove`")
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, kind, name)
        verify_unnamed(tx, row.id, row.name)
        live = sessions.list_live_of_subject(tx.connection, kind, row.id)
        if live and denials.find_standing(tx.connection, row.id, tx.now) is None:
            raise InvalidInputError(
                f"{row.name} has live sessions ({len(live)}): end them first with `evertunnel deny {kind.value} "
                f'{row.name} --reason "is removed"`'
            )
        usable = certificates.list_lasting_of_subject(tx.connection, _COLUMN[kind], row.id, _USABLE, tx.now)
        certificates.change_status(
            tx, [usable_one.id for usable_one in usable], CertificateStatus.REVOKED, reason="cessation of operation"
        )
        for certificate in usable:
            tx.raise_epoch(CERTIFICATE, certificate.id)
        certificates.forget_owner(tx, _COLUMN[kind], row.id)
        # The cuts that a denial asked for go on; what it stood on is gone.
        lifted = denials.lift_denials(tx, row.id, actor=actor)
        people.delete_subject(tx, kind, row.id)
        tx.raise_epoch(kind.value, row.id)
        details = {"certificates": len(usable), "sessions": len(live), "denials": lifted}
        tx.record(AuditEntry(_AUDIT[kind], actor, row.name, row.id, details))
