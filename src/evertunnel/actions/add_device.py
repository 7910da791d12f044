"""Add a device, and say who may get short-lived certificates on it."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import SubjectKind
from evertunnel.pki.names import verify_dns_name
from evertunnel.storage import people
from evertunnel.storage.store import Store


def add_device(store: Store, name: str, *, actor: str, now: datetime) -> str:
    """Return the new device's id. Raises AlreadyExistsError, InvalidInputError."""
    verify_dns_name(name)
    with store.write(now) as tx:
        device_id = people.insert_subject(tx, SubjectKind.DEVICE, name.lower(), enabled=True)
        tx.raise_epoch(SubjectKind.DEVICE.value, device_id)
        tx.record(AuditEntry(Audit.DEVICE_ADD, actor, name.lower(), device_id))
    return device_id
