"""Put members into groups and take them out."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store


def join_group(store: Store, group: str, kind: SubjectKind, member: str, *, actor: str, now: datetime) -> None:
    """Put a user, device or group into a group. Raises NotFoundError, InvalidInputError."""
    with store.write(now) as tx:
        group_row = people.get_subject(tx.connection, SubjectKind.GROUP, group)
        row = people.get_subject(tx.connection, kind, member)
        if row.id == group_row.id:
            raise InvalidInputError(f"the group {group_row.name!r} cannot be its own member")
        people.add_member(tx, group_row.id, kind, row.id)
        tx.raise_epoch(SubjectKind.GROUP.value, group_row.id)
        tx.record(
            AuditEntry(
                Audit.GROUP_JOIN,
                actor,
                group_row.name,
                group_row.id,
                {"kind": kind.value, "member": row.name},
            )
        )


def leave_group(store: Store, group: str, kind: SubjectKind, member: str, *, actor: str, now: datetime) -> None:
    """Take a member out of a group. Raises NotFoundError."""
    with store.write(now) as tx:
        group_row = people.get_subject(tx.connection, SubjectKind.GROUP, group)
        row = people.get_subject(tx.connection, kind, member)
        if not people.remove_member(tx, group_row.id, kind, row.id):
            raise NotFoundError(f"the {kind.value} {row.name} is not in the group {group_row.name!r} itself")
        tx.raise_epoch(SubjectKind.GROUP.value, group_row.id)
        tx.record(
            AuditEntry(
                Audit.GROUP_LEAVE,
                actor,
                group_row.name,
                group_row.id,
                {"kind": kind.value, "member": row.name},
            )
        )
