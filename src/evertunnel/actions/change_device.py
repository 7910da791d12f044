"""Enable or disable a device."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store


def change_device(store: Store, name: str, *, enabled: bool, actor: str, now: datetime) -> None:
    """A disabled device's live tunnels end. Raises NotFoundError."""
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.DEVICE, name)
        people.update_subject(tx, SubjectKind.DEVICE, row.id, enabled=enabled)
        tx.raise_epoch(SubjectKind.DEVICE.value, row.id)
        tx.record(AuditEntry(Audit.DEVICE_CHANGE, actor, row.name, row.id, {"enabled": enabled}))
