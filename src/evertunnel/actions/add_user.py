"""Add a user who signs in with a password kept here, or not at all."""

from collections.abc import Callable
from datetime import datetime

from evertunnel.actions.nt_hashes import seal_nt_hash
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import SubjectKind
from evertunnel.passwords import hash_password
from evertunnel.pki.names import verify_user_name
from evertunnel.storage import people
from evertunnel.storage.store import Store


def add_user(
    store: Store,
    name: str,
    *,
    display_name: str = "",
    password: str | None = None,
    seal: Callable[[bytes, str], bytes] | None = None,
    actor: str,
    now: datetime,
) -> str:
    """Return the new user's id. Without `seal` no NT hash is kept, whatever is switched on.

    Raises AlreadyExistsError, InvalidInputError.
    """
    verify_user_name(name)
    password_hash = None if password is None else hash_password(password)
    with store.write(now) as tx:
        user_id = people.insert_subject(
            tx,
            SubjectKind.USER,
            name,
            display_name=display_name or name,
            password_hash=password_hash,
            enabled=True,
        )
        if password is not None and seal is not None:
            nt_hash = seal_nt_hash(tx.connection, user_id, password, seal)
            people.update_subject(tx, SubjectKind.USER, user_id, nt_hash_sealed=nt_hash)
        tx.raise_epoch(SubjectKind.USER.value, user_id)
        tx.record(AuditEntry(Audit.USER_ADD, actor, name, user_id, {"signs_in_here": password is not None}))
    return user_id
