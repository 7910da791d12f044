"""What an administrator switched on that is off otherwise. There is a row while it is on."""

from sqlalchemy import Connection, delete, insert, select, update

from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

MSCHAPV2 = "mschapv2"
_switches = tables.switches


def find_switch(connection: Connection, name: str) -> AnyRow | None:
    """Since when it is on, and by whom; None: it is off."""
    return connection.execute(select(_switches).where(_switches.c.name == name)).one_or_none()


def is_on(connection: Connection, name: str) -> bool:
    """Whether it is on."""
    return find_switch(connection, name) is not None


def switch_on(tx: Transaction, name: str, *, actor: str) -> None:
    """Switch it on; it must be off."""
    tx.connection.execute(insert(_switches).values(name=name, switched_on_at=tx.now, switched_on_by=actor))


def switch_off(tx: Transaction, name: str) -> None:
    """Switch it off."""
    tx.connection.execute(delete(_switches).where(_switches.c.name == name))


def nt_hash_context(user_id: str) -> str:
    """What a user's sealed NT hash is bound to."""
    return f"users.nt_hash_sealed.{user_id}"


def erase_nt_hashes(tx: Transaction) -> int:
    """Forget them all. Returns how many there were."""
    users = tables.users
    kept = users.c.nt_hash_sealed.is_not(None)
    return tx.connection.execute(update(users).where(kept).values(nt_hash_sealed=None)).rowcount


def count_nt_hashes(connection: Connection) -> int:
    """How many users have one."""
    users = tables.users
    return len(connection.execute(select(users.c.id).where(users.c.nt_hash_sealed.is_not(None))).all())
