"""Users, groups and devices: who and what connects. Names are unique without regard to case."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from evertunnel.errors import AlreadyExistsError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction, new_id
from evertunnel.storage.tables import AnyRow

_TABLES: dict[SubjectKind, Table] = {
    SubjectKind.USER: tables.users,
    SubjectKind.DEVICE: tables.devices,
    SubjectKind.GROUP: tables.groups,
}
# Of more all are read: a statement has room for only so many.
_NAMED_AT_MOST = 500


def find_subject(connection: Connection, kind: SubjectKind, name: str) -> AnyRow | None:
    """A user, device or group by id, else by name (any case): somebody may be called as another's id is."""
    table = _TABLES[kind]
    return connection.execute(
        select(table)
        .where((table.c.name_key == name.casefold()) | (table.c.id == name))
        .order_by((table.c.id == name).desc())
    ).first()


def get_subject(connection: Connection, kind: SubjectKind, name: str) -> AnyRow:
    """The same; raises NotFoundError."""
    row = find_subject(connection, kind, name)
    if row is None:
        raise NotFoundError(f"there is no {kind.value} {name!r}; `evertunnel {kind.value} list` shows those that exist")
    return row


def find_user_of_sid(connection: Connection, sid: str) -> AnyRow | None:
    """The user who has a security identifier."""
    return connection.execute(select(tables.users).where(tables.users.c.sid == sid)).one_or_none()


def list_subjects(connection: Connection, kind: SubjectKind) -> list[AnyRow]:
    """All of a kind, by name."""
    table = _TABLES[kind]
    return list(connection.execute(select(table).order_by(table.c.name_key)))


def find_names(connection: Connection, kind: SubjectKind, subject_ids: Collection[str]) -> dict[str, str]:
    """id -> name of some of a kind; those that are not there are left out."""
    table = _TABLES[kind]
    if not subject_ids:
        return {}
    statement = select(table.c.id, table.c.name)
    if len(subject_ids) <= _NAMED_AT_MOST:
        statement = statement.where(table.c.id.in_(subject_ids))
    return {row.id: row.name for row in connection.execute(statement) if row.id in subject_ids}


def find_name_keys(connection: Connection, user_ids: Collection[str]) -> dict[str, str]:
    """id -> name of some users as names are compared; those that are not there are left out."""
    if not user_ids:
        return {}
    statement = select(tables.users.c.id, tables.users.c.name_key)
    if len(user_ids) <= _NAMED_AT_MOST:
        statement = statement.where(tables.users.c.id.in_(user_ids))
    return {row.id: row.name_key for row in connection.execute(statement) if row.id in user_ids}


def insert_subject(tx: Transaction, kind: SubjectKind, name: str, **columns: Any) -> str:
    """Add one and return its id. Raises AlreadyExistsError."""
    if find_subject(tx.connection, kind, name) is not None:
        raise AlreadyExistsError(f"there is a {kind.value} {name!r} already")
    subject_id = new_id()
    tx.connection.execute(
        insert(_TABLES[kind]).values(id=subject_id, name=name, name_key=name.casefold(), created_at=tx.now, **columns)
    )
    return subject_id


def update_subject(tx: Transaction, kind: SubjectKind, subject_id: str, **columns: Any) -> None:
    """Change columns of one."""
    table = _TABLES[kind]
    tx.connection.execute(update(table).where(table.c.id == subject_id).values(**columns))


def delete_subject(tx: Transaction, kind: SubjectKind, subject_id: str) -> None:
    """Remove one from everything that names it, and then itself. Its certificates must have no owner any more."""
    members, table = tables.group_members, _TABLES[kind]
    tx.connection.execute(delete(members).where(members.c.member_kind == kind.value, members.c.member_id == subject_id))
    tx.connection.execute(delete(members).where(members.c.group_id == subject_id))
    tx.connection.execute(
        delete(tables.facts).where(tables.facts.c.subject_kind == kind.value, tables.facts.c.subject_id == subject_id)
    )
    tx.connection.execute(delete(table).where(table.c.id == subject_id))


def add_member(tx: Transaction, group_id: str, kind: SubjectKind, member_id: str) -> None:
    """Put a user, device or group into a group; twice is once."""
    members = tables.group_members
    found = tx.connection.execute(
        select(members.c.member_id).where(
            members.c.group_id == group_id,
            members.c.member_kind == kind.value,
            members.c.member_id == member_id,
        )
    ).first()
    if found is None:
        tx.connection.execute(insert(members).values(group_id=group_id, member_kind=kind.value, member_id=member_id))


def remove_member(tx: Transaction, group_id: str, kind: SubjectKind, member_id: str) -> bool:
    """Take a member out of a group. False: it was not in it."""
    members = tables.group_members
    result = tx.connection.execute(
        delete(members).where(
            members.c.group_id == group_id,
            members.c.member_kind == kind.value,
            members.c.member_id == member_id,
        )
    )
    return result.rowcount > 0


def list_members(connection: Connection, group_id: str) -> list[tuple[str, str]]:
    """(kind, name) of the direct members of a group."""
    found: list[tuple[str, str]] = []
    for kind, table in _TABLES.items():
        members = tables.group_members
        statement = (
            select(table.c.name)
            .join(members, (members.c.member_id == table.c.id) & (members.c.member_kind == kind.value))
            .where(members.c.group_id == group_id)
            .order_by(table.c.name_key)
        )
        found.extend((kind.value, row.name) for row in connection.execute(statement))
    return found


def assign_device(tx: Transaction, device_id: str, user_id: str) -> None:
    """Let a user get short-lived certificates on a device."""
    assigned = tables.device_users
    if user_id not in list_assigned_users(tx.connection, device_id):
        tx.connection.execute(insert(assigned).values(device_id=device_id, user_id=user_id))


def unassign_device(tx: Transaction, device_id: str, user_id: str) -> bool:
    """Take that back. False: it was not assigned."""
    assigned = tables.device_users
    result = tx.connection.execute(
        delete(assigned).where(assigned.c.device_id == device_id, assigned.c.user_id == user_id)
    )
    return result.rowcount > 0


def load_assigned_users(connection: Connection) -> dict[str, list[str]]:
    """Names of the users each device is assigned to, by the device's id. What is assigned to nobody is left out."""
    assigned, users = tables.device_users.c, tables.users.c
    statement = (
        select(assigned.device_id, users.name).join(tables.users, users.id == assigned.user_id).order_by(users.name_key)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(statement):
        found[row.device_id].append(row.name)
    return dict(found)


def list_assigned_users(connection: Connection, device_id: str) -> dict[str, str]:
    """id -> name of the users a device is assigned to."""
    statement = (
        select(tables.users.c.id, tables.users.c.name)
        .join(tables.device_users, tables.device_users.c.user_id == tables.users.c.id)
        .where(tables.device_users.c.device_id == device_id)
        .order_by(tables.users.c.name_key)
    )
    return {row.id: row.name for row in connection.execute(statement)}
