"""Take a user's authenticator app away: a lost phone, or a new one."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store
from evertunnel.storage.totp import delete_totp


def remove_totp(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """No sign-in asks for its code any more. Raises NotFoundError."""
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.USER, name)
        if not delete_totp(tx, row.id):
            raise NotFoundError(f"{row.name} has no authenticator app")
        tx.record(AuditEntry(Audit.USER_TOTP_REMOVE, actor, row.name, row.id))
