"""SQLite: one file on one machine. How it is opened, and how one notices cheaply that somebody committed."""

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from evertunnel.errors import UnavailableError


def open_engine(url: str) -> Engine:
    """Connections that are durable, wait for one another, and begin as `execution_options(write=...)` says."""
    engine = create_engine(url, poolclass=QueuePool, pool_size=8, max_overflow=8, paramstyle="named")

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we send BEGIN ourselves; the driver's own would be deferred
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # NORMAL may lose a committed Accept in a power cut
            "busy_timeout=15000",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred BEGIN that writes later fails at once when another writer came between; IMMEDIATE waits.
        immediate = connection.get_execution_options().get("write", False)
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


class VersionWatch:
    """One pragma while nobody commits, one more row when somebody did.

    On a connection of its own: it is kept for good, and the pool's are few.
    """

    def __init__(self, engine: Engine) -> None:
        assert engine.url.database is not None
        try:
            self._connection = sqlite3.connect(
                engine.url.database, timeout=15, isolation_level=None, check_same_thread=False
            )
        except sqlite3.DatabaseError as error:
            raise UnavailableError(f"the database cannot be opened: {error}") from error
        self._version = self._read("PRAGMA data_version")
        self._epoch = self._read("SELECT epoch FROM ledger")

    def changed(self) -> bool:
        """Whether the epoch was raised since this was asked last."""
        version = self._read("PRAGMA data_version")
        if version == self._version:
            return False
        epoch = self._read("SELECT epoch FROM ledger")
        self._version = version  # only now: a change whose epoch could not be read is asked for again
        if epoch == self._epoch:
            return False
        self._epoch = epoch
        return True

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _read(self, statement: str) -> int:
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement)
            row = cursor.fetchone()
        except sqlite3.DatabaseError as error:
            raise UnavailableError(f"the database cannot be read: {error}") from error
        finally:
            cursor.close()
        assert row is not None
        return int(row[0])
