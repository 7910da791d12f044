"""Rename a user, device or group. Everything hangs on the id: policies, denials and certificates follow, or stay."""

from datetime import datetime
from typing import Any

from evertunnel.actions.add_group import verify_group_name
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError
from evertunnel.model import SubjectKind
from evertunnel.pki.names import verify_dns_name, verify_user_name
from evertunnel.storage import people
from evertunnel.storage.store import Store

_AUDIT = {
    SubjectKind.USER: Audit.USER_CHANGE,
    SubjectKind.DEVICE: Audit.DEVICE_CHANGE,
    SubjectKind.GROUP: Audit.GROUP_CHANGE,
}


def rename_subject(store: Store, kind: SubjectKind, name: str, new_name: str, *, actor: str, now: datetime) -> None:
    """A certificate keeps the name it was issued with: a client that claims that name is refused until it has another.

    Raises NotFoundError, AlreadyExistsError, InvalidInputError.
    """
    if kind is SubjectKind.USER:
        verify_user_name(new_name)
    elif kind is SubjectKind.DEVICE:
        verify_dns_name(new_name)
        new_name = new_name.lower()
    else:
        verify_group_name(new_name)
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, kind, name)
        other = people.find_subject(tx.connection, kind, new_name)
        if other is not None and other.id != row.id:
            raise AlreadyExistsError(f"there is a {kind.value} {new_name!r} already")
        columns: dict[str, Any] = {"name": new_name, "name_key": new_name.casefold()}
        if kind is SubjectKind.USER and row.display_name == row.name:
            columns["display_name"] = new_name
        people.update_subject(tx, kind, row.id, **columns)
        tx.raise_epoch(kind.value, row.id)
        tx.record(AuditEntry(_AUDIT[kind], actor, new_name, row.id, {"renamed_from": row.name}))
