"""Authenticator apps of users: their secrets, sealed, and the last step each was used at."""

from sqlalchemy import Connection, delete, insert, select, update

from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

_totp = tables.totp


def totp_context(user_id: str) -> str:
    """What a user's sealed secret is bound to."""
    return f"totp.secret_sealed.{user_id}"


def find_totp(connection: Connection, user_id: str) -> AnyRow | None:
    """A user's app, confirmed or not."""
    return connection.execute(select(_totp).where(_totp.c.user_id == user_id)).one_or_none()


def list_totp(connection: Connection) -> dict[str, AnyRow]:
    """User id -> when it was added and confirmed."""
    columns = (_totp.c.user_id, _totp.c.added_at, _totp.c.confirmed_at)
    return {row.user_id: row for row in connection.execute(select(*columns))}


def replace_totp(tx: Transaction, user_id: str, secret_sealed: bytes) -> None:
    """Keep a new secret, not confirmed yet, in the place of one that was there."""
    delete_totp(tx, user_id)
    tx.connection.execute(insert(_totp).values(user_id=user_id, secret_sealed=secret_sealed, added_at=tx.now))


def confirm_totp(tx: Transaction, user_id: str, step: int) -> None:
    """From now on it counts; this step's code was used."""
    tx.connection.execute(update(_totp).where(_totp.c.user_id == user_id).values(confirmed_at=tx.now, last_step=step))


def use_step(tx: Transaction, user_id: str, step: int) -> None:
    """No code of this step or an earlier one is good any more."""
    tx.connection.execute(update(_totp).where(_totp.c.user_id == user_id).values(last_step=step))


def delete_totp(tx: Transaction, user_id: str) -> bool:
    """Forget it. False: there was none."""
    return tx.connection.execute(delete(_totp).where(_totp.c.user_id == user_id)).rowcount > 0
