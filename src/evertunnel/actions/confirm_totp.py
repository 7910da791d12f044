"""Let a user's authenticator app count, with the first code it shows."""

from datetime import datetime

from evertunnel.actions.check_code import Unseal
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store
from evertunnel.storage.totp import confirm_totp as store_confirmed
from evertunnel.storage.totp import find_totp, totp_context
from evertunnel.totp import find_step


def confirm_totp(store: Store, name: str, code: str, *, unseal: Unseal, actor: str, now: datetime) -> None:
    """From now on every sign-in asks for a code. Raises NotFoundError, AlreadyExistsError, InvalidInputError."""
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.USER, name)
        found = find_totp(tx.connection, row.id)
        if found is None:
            raise NotFoundError(f"{row.name} has no authenticator app: `evertunnel user totp add NAME` gives one")
        if found.confirmed_at is not None:
            raise AlreadyExistsError(f"the authenticator app of {row.name} was confirmed already")
        step = find_step(unseal(found.secret_sealed, totp_context(row.id)), code, now=tx.now)
        if step is None:
            raise InvalidInputError(
                "the code is wrong: give the six digits the app shows now, and see that the clocks of the phone and of "
                "this server are right"
            )
        store_confirmed(tx, row.id, step)
        tx.record(AuditEntry(Audit.USER_TOTP_CONFIRM, actor, row.name, row.id))
