"""Change a user: password, enabled or disabled."""

from datetime import datetime
from typing import Any

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.passwords import hash_password
from evertunnel.storage import people
from evertunnel.storage.store import Store


def change_user(
    store: Store,
    name: str,
    *,
    password: str | None = None,
    enabled: bool | None = None,
    actor: str,
    now: datetime,
) -> None:
    """Change what is given. A disabled user's live tunnels end. Raises NotFoundError, InvalidInputError."""
    columns: dict[str, Any] = {}
    if password is not None:
        columns["password_hash"] = hash_password(password)
    if enabled is not None:
        columns["enabled"] = enabled
    if not columns:
        raise InvalidInputError("nothing to change was given")
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.USER, name)
        people.update_subject(tx, SubjectKind.USER, row.id, **columns)
        tx.raise_epoch(SubjectKind.USER.value, row.id)
        changed = {"enabled": enabled} if enabled is not None else {}
        if password is not None:
            changed["password"] = True
        tx.record(AuditEntry(Audit.USER_CHANGE, actor, row.name, row.id, changed))
