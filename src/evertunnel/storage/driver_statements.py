"""The few statements every transaction runs, compiled once and handed to the driver as they are.

SQLAlchemy Core costs 50 to 100 µs a statement, the driver 5 to 10; a login that is recorded alone runs five of
them. Everything else goes through Core.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy import Connection, Dialect, Executable, Table, insert, select, update

from evertunnel.errors import UnavailableError
from evertunnel.storage import tables
from evertunnel.storage.databases import CHANNEL


class DriverStatements:
    """Compiled for one database. Values must be what the driver stores: times as integers (tables.encode_time)."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._inserts: dict[str, str] = {}
        self._announcement = f"NOTIFY {CHANNEL}" if dialect.name == "postgresql" else ""
        ledger = tables.ledger.c
        self._read_ledger = self._compile(
            select(ledger.epoch, ledger.batch_number, ledger.batch_hash).with_for_update()
        )
        self._write_ledger = self._compile(update(tables.ledger).values(epoch=None, batch_number=None, batch_hash=None))

    def read_ledger(self, connection: Connection) -> tuple[int, int, bytes]:
        """Epoch, number and hash of the last batch; held until the transaction ends."""
        cursor = _cursor(connection)
        try:
            cursor.execute(self._read_ledger)
            row = cursor.fetchone()
        finally:
            cursor.close()
        if row is None:
            raise UnavailableError("the database has no ledger")
        epoch, batch_number, batch_hash = row
        return epoch, batch_number, bytes(batch_hash)

    def write_ledger(self, connection: Connection, *, epoch: int, batch_number: int, batch_hash: bytes) -> None:
        """Replace the one row."""
        cursor = _cursor(connection)
        try:
            cursor.execute(self._write_ledger, {"epoch": epoch, "batch_number": batch_number, "batch_hash": batch_hash})
        finally:
            cursor.close()

    def announce(self, connection: Connection) -> None:
        """Wake who listens on other nodes, at the commit. SQLite's readers see it by themselves."""
        if self._announcement:
            cursor = _cursor(connection)
            try:
                cursor.execute(self._announcement)
            finally:
                cursor.close()

    def together(self, connection: Connection) -> AbstractContextManager[Any]:
        """What is sent inside travels to PostgreSQL in one round trip; an error shows at the end."""
        return _driver(connection).pipeline() if self._announcement else nullcontext()

    def insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that all have the same columns."""
        sql = self._inserts.get(table.name)
        if sql is None:
            statement = insert(table).values(dict.fromkeys(rows[0]))
            sql = self._inserts[table.name] = self._compile(statement)
        cursor = _cursor(connection)
        try:
            if len(rows) == 1:
                cursor.execute(sql, rows[0])
            else:
                cursor.executemany(sql, rows)
        finally:
            cursor.close()

    def _compile(self, statement: Executable) -> str:
        return str(statement.compile(dialect=self._dialect))  # type: ignore[attr-defined]


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _cursor(connection: Connection) -> Any:
    return _driver(connection).cursor()
