"""Opens the database and runs transactions. A writing transaction holds the ledger from its first statement on.

That one row gives three things at once: taking away and granting are in one order (the epoch), every batch of
records carries the hash of the one before, and a reply that waits for `write` to return was committed.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from evertunnel.audit import AuditEntry
from evertunnel.errors import UnavailableError
from evertunnel.model import Attempt
from evertunnel.storage import chain, tables

GENESIS_HASH = bytes(32)


def new_id() -> str:
    """A fresh row id: 64 random bits as hex. Not a secret; enough to never meet twice."""
    return secrets.token_hex(8)


class Store:
    """One database. Safe to share between threads; open it after a fork, never before."""

    def __init__(self, url: str) -> None:
        self._engine = _open(url)

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
        except OperationalError as error:
            raise UnavailableError(f"the database cannot be read: {error.orig}") from error

    @contextmanager
    def write(self, now: datetime) -> Iterator["Transaction"]:
        """All or nothing. Raises UnavailableError when it could not be committed; then nothing happened."""
        try:
            with self._engine.connect().execution_options(write=True) as connection, connection.begin():
                transaction = Transaction(connection, now)
                yield transaction
                transaction.seal()
        except OperationalError as error:
            raise UnavailableError(f"the database cannot be written: {error.orig}") from error


class Watch:
    """Says cheaply whether anybody else committed. Has a connection of its own; for one thread."""

    def __init__(self, store: Store) -> None:
        self._connection = store.engine.raw_connection()
        self._version = self._read()

    def changed(self) -> bool:
        """Whether the database changed since this was asked last."""
        version = self._read()
        if version == self._version:
            return False
        self._version = version
        return True

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _read(self) -> int:
        cursor = self._connection.cursor()
        try:
            cursor.execute("PRAGMA data_version")
            row = cursor.fetchone()
        finally:
            cursor.close()
        assert row is not None
        return int(row[0])


class Transaction:
    """A writing transaction: the connection, the epoch it runs at, and what it records."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        row = connection.execute(
            select(tables.ledger.c.epoch, tables.ledger.c.batch_number, tables.ledger.c.batch_hash)
        ).one()
        self.epoch: int = row.epoch
        self._batch_number: int = row.batch_number
        self._batch_hash: bytes = row.batch_hash
        self._changes: list[dict[str, Any]] = []
        self._audit: list[dict[str, Any]] = []
        self._attempts: list[dict[str, Any]] = []

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
                "at": self.now,
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
        self._attempts.append(chain.attempt_row(attempt, batch=self._batch_number + 1))

    def seal(self) -> None:
        """Write what was recorded as one batch that carries the hash of the batch before."""
        if self._changes:
            self.connection.execute(insert(tables.changes), self._changes)
        if self._audit:
            self.connection.execute(insert(tables.audit), self._audit)
        if self._attempts:
            self.connection.execute(insert(tables.attempts), self._attempts)
        values: dict[str, Any] = {}
        if self._changes:
            values["epoch"] = self.epoch
        if self._audit or self._attempts:
            batch = chain.build_batch(
                number=self._batch_number + 1,
                previous_hash=self._batch_hash,
                committed_at=self.now,
                epoch=self.epoch,
                audit=self._audit,
                attempts=self._attempts,
            )
            self.connection.execute(insert(tables.batches).values(**batch))
            values |= {"batch_number": batch["number"], "batch_hash": batch["hash"]}
        if values:
            self.connection.execute(update(tables.ledger).values(**values))


def create_ledger(connection: Connection) -> None:
    """The first row, epoch 1, before anything was recorded."""
    connection.execute(insert(tables.ledger).values(id=1, epoch=1, batch_number=0, batch_hash=GENESIS_HASH))


def read_epoch(connection: Connection) -> int:
    """The epoch as of this transaction."""
    epoch: int = connection.execute(select(tables.ledger.c.epoch)).scalar_one()
    return epoch


def _open(url: str) -> Engine:
    engine = create_engine(url, poolclass=QueuePool, pool_size=8, max_overflow=8)
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
        connection.execute(text("BEGIN IMMEDIATE" if immediate else "BEGIN"))

    return engine
