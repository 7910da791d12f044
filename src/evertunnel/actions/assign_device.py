"""Assign a device to users, and take that back. Without it no short-lived certificate is issued or counts."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store


def assign_device(store: Store, device: str, user: str, *, assigned: bool = True, actor: str, now: datetime) -> None:
    """Assign, or with `assigned` false take back. Raises NotFoundError."""
    with store.write(now) as tx:
        device_row = people.get_subject(tx.connection, SubjectKind.DEVICE, device)
        user_row = people.get_subject(tx.connection, SubjectKind.USER, user)
        if assigned:
            people.assign_device(tx, device_row.id, user_row.id)
        elif not people.unassign_device(tx, device_row.id, user_row.id):
            raise NotFoundError(f"{device_row.name} is not assigned to {user_row.name}")
        tx.raise_epoch(SubjectKind.DEVICE.value, device_row.id)
        name = Audit.DEVICE_ASSIGN if assigned else Audit.DEVICE_UNASSIGN
        tx.record(AuditEntry(name, actor, device_row.name, device_row.id, {"user": user_row.name}))
