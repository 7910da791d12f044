"""Opens the database and runs transactions. A writing transaction holds the ledger from its first statement on.

That one row gives three things at once: taking away and granting are in one order (the epoch), every batch of
records carries the hash of the one before, and a reply that waits for `write` to return was committed.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Table, delete, insert, select
from sqlalchemy.exc import DatabaseError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from evertunnel.audit import AuditEntry
from evertunnel.errors import UnavailableError
from evertunnel.model import Attempt
from evertunnel.storage import chain, tables
from evertunnel.storage.databases import EpochSource, hold_name, open_engine, verify_committed, watch_epoch
from evertunnel.storage.driver_statements import DriverStatements
from evertunnel.storage.tables import encode_time

GENESIS_HASH = bytes(32)

# Who follows from further back reads everything anew, so older changes are of no use to anybody.
KEPT_EPOCHS = 10_000
_PRUNE_EVERY_EPOCHS = 1_000

# Waiting this long is not waiting: what is judged to the second does not change, and records keep the caller's moment.
_AT_ONCE = timedelta(milliseconds=100)

# Locked for too long, disk full, file damaged or gone, no free connection: by SQLAlchemy's name and the driver's.
UNAVAILABLE = (DatabaseError, InterfaceError, PoolTimeoutError, sqlite3.DatabaseError)


def explain(error: Exception) -> str:
    """What the driver said, in one line, without SQLAlchemy's words around it."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def new_id() -> str:
    """A fresh row id: 64 random bits as hex. Not a secret; enough to never meet twice."""
    return os.urandom(8).hex()


class Store:
    """One database. Safe to share between threads; open it after a fork, never before."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_engine(url)
        self._watches: list[EpochSource] = []
        self._statements = DriverStatements(self._engine.dialect)
        self._unavailable = (*UNAVAILABLE, self._engine.dialect.loaded_dbapi.Error)

    @property
    def engine(self) -> Engine:
        """For migrations only."""
        return self._engine

    @property
    def is_shared(self) -> bool:
        """Whether other machines may use this database too."""
        return self._engine.dialect.name != "sqlite"

    def watch(self) -> EpochSource:
        """How `Watch` notices changes of this kind of database."""
        source = watch_epoch(self._engine, self.url)
        self._watches.append(source)
        return source

    def unwatch(self, source: EpochSource) -> None:
        """Nobody asks it any more."""
        self._watches.remove(source)
        source.close()

    def hold(self, name: str) -> AbstractContextManager[bool]:
        """Hold a name among all nodes while doing what one of them is enough for, without stopping anybody's writes.

        False: another node does it. Who dies lets go at once. Raises UnavailableError.
        """
        return hold_name(self._engine, name)

    def close(self) -> None:
        """Let go of every connection."""
        for source in self._watches:
            source.close()
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of one moment. Raises UnavailableError when the database cannot be read."""
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except self._unavailable as error:
            raise UnavailableError(f"the database cannot be read: {explain(error)}") from error

    @contextmanager
    def write(self, now: datetime, *, fixed: bool = False) -> Iterator["Transaction"]:
        """All or nothing. Raises UnavailableError when it could not be committed; then nothing happened.

        One exception: who loses a database server in the middle of a commit cannot know, and is told the same.

        The transaction's `now` is the moment at which it got the right to write: who waited for it decides about
        what ended meanwhile. With `fixed` it is the caller's: something was seen at that moment.
        """
        began = time.monotonic()
        try:
            with self._engine.connect().execution_options(write=True) as connection, connection.begin() as outer:
                ledger = self._statements.read_ledger(connection)  # SQLite waits for its turn before, PostgreSQL here
                waited = timedelta(seconds=time.monotonic() - began)
                moment = now if fixed or waited < _AT_ONCE else now + waited
                transaction = Transaction(connection, self._statements, moment, ledger)
                yield transaction
                transaction.seal()
                outer.commit()
                verify_committed(connection)
        except self._unavailable as error:
            raise UnavailableError(f"the database cannot be written: {explain(error)}") from error


class Watch:
    """Says cheaply whether the epoch was raised since it was asked last. For one thread at a time.

    Asked fifty times a second by every process. Raises UnavailableError while the database is away; what was raised
    meanwhile is told afterwards.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._source = store.watch()

    def changed(self) -> bool:
        """Whether there is anything to follow."""
        return self._source.changed()

    def close(self) -> None:
        """Give the connection back."""
        self._store.unwatch(self._source)


class Transaction:
    """A writing transaction: the connection, the epoch it runs at, and what it records."""

    def __init__(
        self, connection: Connection, statements: DriverStatements, now: datetime, ledger: tuple[int, int, bytes]
    ) -> None:
        self.connection = connection
        self.now = now
        self._statements = statements
        self.epoch, self._batch_number, self._batch_hash = ledger
        self._changes: list[dict[str, Any]] = []
        self._audit: list[dict[str, Any]] = []
        self._attempts: list[dict[str, Any]] = []
        self._later: dict[str, tuple[Table, list[Mapping[str, Any]]]] = {}
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
                "actor": chain.clean_text(entry.actor),
                "subject": chain.clean_text(entry.subject),
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

    def insert_later(self, table: Table, row: Mapping[str, Any]) -> None:
        """Insert a row beside what is recorded, with others of its table in one statement. Nothing here reads it."""
        self._later.setdefault(table.name, (table, []))[1].append(row)

    def seal(self) -> None:
        """Write what was recorded as one batch that carries the hash of the batch before."""
        if self._later or self._changes or self._audit or self._attempts:
            with self._statements.together(self.connection):
                self._seal()
            if self._changes and self.epoch % _PRUNE_EVERY_EPOCHS == 0:
                old = tables.changes.c.epoch <= self.epoch - KEPT_EPOCHS
                self.connection.execute(delete(tables.changes).where(old))

    def _seal(self) -> None:
        for table, rows in self._later.values():
            self.insert(table, rows)
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
        self._statements.write_ledger(
            self.connection, epoch=self.epoch, batch_number=self._batch_number, batch_hash=self._batch_hash
        )
        if self._changes:
            self._statements.announce(self.connection)


def create_ledger(connection: Connection) -> None:
    """The first row, epoch 1, before anything was recorded."""
    connection.execute(insert(tables.ledger).values(id=1, epoch=1, batch_number=0, batch_hash=GENESIS_HASH))


def read_heads(connection: Connection) -> tuple[int, int]:
    """The epoch, and the number of the last batch that was recorded."""
    row = connection.execute(select(tables.ledger.c.epoch, tables.ledger.c.batch_number)).one()
    return row.epoch, row.batch_number


def read_epoch(connection: Connection) -> int:
    """The epoch as of this transaction."""
    epoch: int = connection.execute(select(tables.ledger.c.epoch)).scalar_one()
    return epoch
