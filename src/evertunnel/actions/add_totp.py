"""Give a user an authenticator app. It counts once its first code was confirmed."""

from collections.abc import Callable
from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store
from evertunnel.storage.totp import find_totp, replace_totp, totp_context
from evertunnel.totp import make_secret


def add_totp(
    store: Store, name: str, *, seal: Callable[[bytes, str], bytes], actor: str, now: datetime
) -> tuple[str, bytes]:
    """The user's name and the secret, which is shown this once. One that was never confirmed is forgotten for it.

    Raises NotFoundError, AlreadyExistsError, InvalidInputError.
    """
    secret = make_secret()
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.USER, name)
        if row.password_hash is None:
            raise InvalidInputError(
                f"{row.name} has no password here, and a code is asked for after one: "
                "`evertunnel user change NAME --password` first"
            )
        found = find_totp(tx.connection, row.id)
        if found is not None and found.confirmed_at is not None:
            raise AlreadyExistsError(f"{row.name} has an authenticator app: `evertunnel user totp remove NAME` first")
        replace_totp(tx, row.id, seal(secret, totp_context(row.id)))
        tx.record(AuditEntry(Audit.USER_TOTP_ADD, actor, row.name, row.id))
    return row.name, secret
