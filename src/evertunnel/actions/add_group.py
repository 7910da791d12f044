"""Add a group of users, devices and groups."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store

_MAXIMUM_NAME_LENGTH = 100


def add_group(store: Store, name: str, *, actor: str, now: datetime) -> str:
    """Return the new group's id. Raises AlreadyExistsError, InvalidInputError."""
    verify_group_name(name)
    with store.write(now) as tx:
        group_id = people.insert_subject(tx, SubjectKind.GROUP, name)
        tx.raise_epoch(SubjectKind.GROUP.value, group_id)
        tx.record(AuditEntry(Audit.GROUP_ADD, actor, name, group_id))
    return group_id


def verify_group_name(name: str) -> None:
    """Raise InvalidInputError for one that no group may have."""
    if not name.strip() or len(name) > _MAXIMUM_NAME_LENGTH or not name.isprintable():
        raise InvalidInputError("a group's name is 1 to 100 printable characters")
