"""Change a user: password, enabled or disabled, security identifier."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from evertunnel.actions.end_password_sessions import end_password_sessions
from evertunnel.actions.nt_hashes import seal_nt_hash
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.passwords import hash_password
from evertunnel.pki.security_identifiers import verify_sid
from evertunnel.storage import people
from evertunnel.storage.store import Store


def change_user(
    store: Store,
    name: str,
    *,
    password: str | None = None,
    enabled: bool | None = None,
    sid: str | None = None,
    expire_password: bool = False,
    seal: Callable[[bytes, str], bytes] | None = None,
    actor: str,
    now: datetime,
) -> None:
    """Change what is given; an empty `sid` takes it away. A disabled user's live tunnels end, and with a new
    password those that the old one opened.

    `expire_password` has the user choose a new one at the next login with MS-CHAPv2.

    Raises NotFoundError, InvalidInputError; AlreadyExistsError when the security identifier is another user's.
    """
    columns: dict[str, Any] = {}
    if password is not None:
        columns["password_hash"] = hash_password(password)
    if password is not None or expire_password:
        columns["password_expired"] = expire_password
    if enabled is not None:
        columns["enabled"] = enabled
    if sid is not None:
        if sid:
            verify_sid(sid)
        columns["sid"] = sid or None
    if not columns:
        raise InvalidInputError("nothing to change was given")
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.USER, name)
        if sid and (other := people.find_user_of_sid(tx.connection, sid)) is not None and other.id != row.id:
            raise AlreadyExistsError(f"{sid} is the security identifier of {other.name}")
        if expire_password and password is None and row.nt_hash_sealed is None:
            raise InvalidInputError(
                f"{row.name} cannot log in with MS-CHAPv2, the only way to choose a new password here: "
                "set one with `evertunnel user change NAME --password`"
            )
        if password is not None:
            columns["nt_hash_sealed"] = seal and seal_nt_hash(tx.connection, row.id, password, seal)
        people.update_subject(tx, SubjectKind.USER, row.id, **columns)
        tx.raise_epoch(SubjectKind.USER.value, row.id)
        changed: dict[str, Any] = {"enabled": enabled} if enabled is not None else {}
        if sid is not None:
            changed["sid"] = sid
        if password is not None:
            changed["password"] = True
            if ended := end_password_sessions(tx, row.id):
                changed["sessions"] = len(ended)
        if expire_password:
            changed["password_expired"] = True
        tx.record(AuditEntry(Audit.USER_CHANGE, actor, row.name, row.id, changed))
