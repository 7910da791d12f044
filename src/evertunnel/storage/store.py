"""Opens the database and runs transactions. A writing transaction holds the ledger from its first statement on.

That one row gives three things at once: taking away and granting are in one order (the epoch), every batch of
records carries the hash of the one before, and a reply that waits for `write` to return was committed.
"""

import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from evertunnel.audit import AuditEntry
from evertunnel.errors import UnavailableError
from evertunnel.model import Attempt
from evertunnel.storage import chain, tables
from evertunnel.storage.driver_statements import DriverStatements
from evertunnel.storage.tables import encode_time

GENESIS_HASH = bytes(32)

# Waiting this long is not waiting: what is judged to the second does not change, and records keep the caller's moment.
_AT_ONCE = timedelta(milliseconds=100)

# Locked for too long, disk full, file damaged or gone, no free connection: by SQLAlchemy's name and the driver's.
UNAVAILABLE = (DatabaseError, PoolTimeoutError, sqlite3.DatabaseError)


def explain(error: Exception) -> str:
    """What the driver said, without SQLAlchemy's words around it."""
    return str(getattr(error, "orig", None) or error)


def new_id() -> str:
    """A fresh row id: 64 random bits as hex. Not a secret; enough to never meet twice."""
    return secrets.token_hex(8)


class Store:
    """One database. Safe to share between threads; open it after a fork, never before."""

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        self._statements = DriverStatements(self._engine.dialect)

    @property
    def engine(self) -> Engine:
        """For migrations only."""
        return self._engine

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of one moment. Raises UnavailableError when the database cannot be read."""
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except UNAVAILABLE as error:
            raise UnavailableError(f"the database cannot be read: {explain(error)}") from error

    @contextmanager
    def write(self, now: datetime, *, fixed: bool = False) -> Iterator["Transaction"]:
        """All or nothing. Raises UnavailableError when it could not be committed; then nothing happened.

        The transaction's `now` is the moment at which it got the right to write: who waited for it decides about
        what ended meanwhile. With `fixed` it is the caller's: something was seen at that moment.
        """
        began = time.monotonic()
        try:
            with self._engine.connect().execution_options(write=True) as connection, connection.begin():
                waited = timedelta(seconds=time.monotonic() - began)
                moment = now if fixed or waited < _AT_ONCE else now + waited
                transaction = Transaction(connection, self._statements, moment)
                yield transaction
                transaction.seal()
        except UNAVAILABLE as error:
            raise UnavailableError(f"the database cannot be written: {explain(error)}") from error


class Watch:
    """Says cheaply whether the epoch was raised since it was asked last. For one thread at a time.

    Asked fifty times a second by every process: one pragma while nobody commits, one more row when somebody did.
    """

    def __init__(self, store: Store) -> None:
        self._connection = store.engine.raw_connection()
        self._version = self._read("PRAGMA data_version")
        self._epoch = self._read("SELECT epoch FROM ledger")

    def changed(self) -> bool:
        """Whether there is anything to follow."""
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
        """Give the connection back."""
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


class Transaction:
    """A writing transaction: the connection, the epoch it runs at, and what it records."""

    def __init__(self, connection: Connection, statements: DriverStatements, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self._statements = statements
        self.epoch, self._batch_number, self._batch_hash = statements.read_ledger(connection)
        self._changes: list[dict[str, Any]] = []
        self._audit: list[dict[str, Any]] = []
        self._attempts: list[dict[str, Any]] = []
        self._now_encoded = encode_time(now)

    def raise_epoch(self, kind: str, subject_id: str) -> None:
        """Say that what may be decided about this subject changed. Whoever decided earlier decides again."""
        if not self._changes:
            self.epoch += 1
        self._changes.append(
            {"epoch": self.epoch, "position": len(self._changes), "kind": kind, "subject_id": subject_id}
        )

    def record(self, entry: AuditEntry) -> None:
        """Add to the audit, in this transaction or not at all."""
        self._audit.append(
            {
                "id": new_id(),
                "at": self._now_encoded,
                "name": entry.name.value,
                "actor": entry.actor,
                "subject": entry.subject,
                "subject_id": entry.subject_id,
                "details": orjson.dumps(entry.details, option=orjson.OPT_SORT_KEYS).decode(),
                "batch": self._batch_number + 1,
            }
        )

    def record_attempt(self, attempt: Attempt) -> None:
        """Add an attempt, in this transaction or not at all."""
        self._attempts.append(chain.build_attempt_row(attempt, batch=self._batch_number + 1))

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows with the driver's own values (times encoded) and without the ORM layer's cost."""
        if rows:
            self._statements.insert(self.connection, table, rows)

    def seal(self) -> None:
        """Write what was recorded as one batch that carries the hash of the batch before."""
        self.insert(tables.changes, self._changes)
        self.insert(tables.audit, self._audit)
        self.insert(tables.attempts, self._attempts)
        if self._audit or self._attempts:
            batch = chain.build_batch(
                number=self._batch_number + 1,
                previous_hash=self._batch_hash,
                committed_at=self._now_encoded,
                epoch=self.epoch,
                audit=self._audit,
                attempts=self._attempts,
            )
            self.insert(tables.batches, [batch])
            self._batch_number, self._batch_hash = batch["number"], batch["hash"]
        if self._changes or self._audit or self._attempts:
            self._statements.write_ledger(
                self.connection, epoch=self.epoch, batch_number=self._batch_number, batch_hash=self._batch_hash
            )


def create_ledger(connection: Connection) -> None:
    """The first row, epoch 1, before anything was recorded."""
    connection.execute(insert(tables.ledger).values(id=1, epoch=1, batch_number=0, batch_hash=GENESIS_HASH))


def read_epoch(connection: Connection) -> int:
    """The epoch as of this transaction."""
    epoch: int = connection.execute(select(tables.ledger.c.epoch)).scalar_one()
    return epoch


def _open(url: str) -> Engine:
    engine = create_engine(url, poolclass=QueuePool, pool_size=8, max_overflow=8, paramstyle="named")
    if engine.dialect.name != "sqlite":
        raise UnavailableError(f"this version keeps its state in SQLite only; the URL names {engine.dialect.name}")

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
