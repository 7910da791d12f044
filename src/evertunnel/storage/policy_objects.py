"""Named locations and authentication strengths: what conditional access policies name, kept as Graph writes it."""

from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from evertunnel.errors import NotFoundError
from evertunnel.storage import tables
from evertunnel.storage.snapshot import AUTHENTICATION_STRENGTHS, NAMED_LOCATIONS
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow


class ObjectKind(StrEnum):
    """Which of the two. The value is the word of the command line."""

    LOCATION = "location"
    STRENGTH = "strength"

    @property
    def words(self) -> str:
        """What it is called in texts."""
        return "named location" if self is ObjectKind.LOCATION else "authentication strength"


_TABLES: dict[ObjectKind, Table] = {
    ObjectKind.LOCATION: tables.named_locations,
    ObjectKind.STRENGTH: tables.authentication_strengths,
}
_CHANGES = {ObjectKind.LOCATION: NAMED_LOCATIONS, ObjectKind.STRENGTH: AUTHENTICATION_STRENGTHS}


def list_objects(connection: Connection, kind: ObjectKind) -> list[AnyRow]:
    """All of a kind, by name."""
    table = _TABLES[kind]
    return list(connection.execute(select(table).order_by(table.c.name_key)))


def find_object(connection: Connection, kind: ObjectKind, text: str) -> AnyRow | None:
    """One by id, else by name; any case of both."""
    table = _TABLES[kind]
    by_id = func.lower(table.c.id) == text.lower()
    statement = select(table).where(by_id | (table.c.name_key == text.casefold())).order_by(by_id.desc())
    return connection.execute(statement).first()


def get_object(connection: Connection, kind: ObjectKind, text: str) -> AnyRow:
    """The same; raises NotFoundError."""
    row = find_object(connection, kind, text)
    if row is None:
        raise NotFoundError(
            f"there is no {kind.words} {text!r}; `evertunnel policy {kind.value} list` shows those that exist"
        )
    return row


def insert_object(tx: Transaction, kind: ObjectKind, object_id: str, name: str, document: Any) -> None:
    """Add one. Whatever was decided by the policies that name it is decided again."""
    values = {"name": name, "name_key": name.casefold(), "document": document, "changed_at": tx.now}
    tx.connection.execute(insert(_TABLES[kind]).values(id=object_id, **values))
    tx.raise_epoch(_CHANGES[kind], object_id)


def replace_object(tx: Transaction, kind: ObjectKind, object_id: str, name: str, document: Any) -> None:
    """Put another document in one's place."""
    table = _TABLES[kind]
    values = {"name": name, "name_key": name.casefold(), "document": document, "changed_at": tx.now}
    tx.connection.execute(update(table).where(table.c.id == object_id).values(**values))
    tx.raise_epoch(_CHANGES[kind], object_id)


def delete_object(tx: Transaction, kind: ObjectKind, object_id: str) -> None:
    """Remove one, which no policy names any more."""
    table = _TABLES[kind]
    tx.connection.execute(delete(table).where(table.c.id == object_id))
    tx.raise_epoch(_CHANGES[kind], object_id)
