"""PostgreSQL: one server for several nodes. How it is connected to, and how one hears that somebody committed.

Loaded only when the URL asks for it: the driver is an extra, and takes a while to import.
"""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import psycopg
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from evertunnel.errors import UnavailableError
from evertunnel.storage.databases import CHANNEL

# A URL may say otherwise. A server that is silent is given up within five seconds; one that ended, at once.
_CONNECTION = {
    "application_name": "evertunnel",
    "connect_timeout": "3",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
    "target_session_attrs": "read-write",  # of several hosts the one that is not a standby
}
# A URL's own `options` may change these. A node that stopped in the middle of a transaction holds the ledger, and
# with it every other node: the server ends it.
_SETTINGS = {
    "lock_timeout": "10s",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "5s",
}
# A URL may not change this: a reply that leaves after a commit must find it again after any crash.
_DEMANDED = {"synchronous_commit": "on"}

_LOOK_EVERY_SECONDS = 1.0
_HOLD_WAIT = "2s"
_RECONNECT_EVERY_SECONDS = 0.5


class StoreConnection(psycopg.Connection[TupleRow]):
    """Remembers a commit that the server calls done although a standby it has to wait for did not confirm it."""

    unconfirmed: str | None = None

    def begin(self, statement: str) -> None:
        """Begin a transaction, with nothing noted of the one before."""
        self.unconfirmed = None
        self.execute(statement)

    def note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """PostgreSQL says it in a warning, in any language; none of our own statements causes another one."""
        if diagnostic.severity_nonlocalized == "WARNING":
            self.unconfirmed = diagnostic.message_primary or "a warning without words"


class _TextDumper(StrDumper):
    """PostgreSQL's texts hold no NUL; who looks for one finds nothing, and is no error."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\x00", "\ufffd") if "\x00" in obj else obj)


def build_conninfo(url: str) -> str:
    """A URL with what we need beside it, as libpq reads it. Raises UnavailableError for one it cannot read."""
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.Error as error:
        raise UnavailableError(f"the database's URL cannot be read: {str(error).strip()}") from error
    options = [f"-c {name}={value}" for name, value in _SETTINGS.items()]
    options += [given.pop("options", "")]
    options += [f"-c {name}={value}" for name, value in _DEMANDED.items()]
    return make_conninfo("", **cast("dict[str, Any]", {**_CONNECTION, **given, "options": " ".join(options)}))


def connect(url: str) -> StoreConnection:
    """A connection that sends no BEGIN of its own. Raises psycopg.Error."""
    connection = StoreConnection.connect(build_conninfo(url), autocommit=True)
    connection.adapters.register_dumper(str, _TextDumper)
    connection.add_notice_handler(connection.note)
    return connection


def open_engine(url: str) -> Engine:
    """Connections that begin as `execution_options(write=...)` says, and are made anew when the server was away."""
    build_conninfo(url)
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: connect(url), poolclass=QueuePool, pool_size=8, max_overflow=8
    )

    @event.listens_for(engine, "checkout")
    def _verify_alive(connection: StoreConnection, _record: object, _proxy: object) -> None:
        # A server that ended has closed its side: seen without asking it. Another connection is made at once.
        if connection.closed or _has_input(connection):
            raise DisconnectionError

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Who writes takes the ledger's row first and must see what was committed while he waited for it; so each
        # statement has its own view. Who reads has one for all.
        writing = connection.get_execution_options().get("write", False)
        statement = (
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
            if writing
            else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )
        driver = cast("StoreConnection", connection.connection.driver_connection)
        try:
            driver.begin(statement)
        except psycopg.OperationalError:
            if not driver.closed:
                raise
            # It ended after it was looked at. Nothing happened on it yet, so another one does as well; once, for where
            # that one ends too the server is going away.
            connection.invalidate()
            cast("StoreConnection", connection.connection.driver_connection).begin(statement)

    return engine


@contextmanager
def hold_name(engine: Engine, name: str) -> Iterator[bool]:
    """Hold a name on this server until the end of the block, or of our connection. False: another kept it for long."""
    try:
        connection = engine.raw_connection()
    except (psycopg.Error, SQLAlchemyError) as error:
        raise UnavailableError(f"the database cannot be asked: {str(error).strip()}") from error
    driver = cast("StoreConnection", connection.driver_connection)
    try:
        with driver.transaction():
            driver.execute(f"SET LOCAL lock_timeout = '{_HOLD_WAIT}'")
            driver.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        held = True
    except psycopg.errors.LockNotAvailable:
        held = False
    except psycopg.Error as error:
        connection.close()
        raise UnavailableError(f"the database cannot be asked: {str(error).strip()}") from error
    try:
        yield held
    finally:
        # Whoever lost the server lost the name with it.
        with suppress(psycopg.Error):
            driver.execute("SELECT pg_advisory_unlock_all()")
        connection.close()


class NotificationWatch:
    """Listens on a connection of its own. The epoch is the truth: a notification only says when to look.

    Each second, and after every loss of the connection, it looks anyway.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: StoreConnection | None = None
        self._epoch: int | None = None
        self._look_at = self._connect_at = 0.0
        self._problem = ""
        with suppress(UnavailableError):  # the first epoch that can be read is a change then
            self._epoch = self._look()

    def changed(self) -> bool:
        """Whether the epoch was raised since this was asked last. Raises UnavailableError."""
        if self._connection is not None and not self._notified() and time.monotonic() < self._look_at:
            return False
        epoch = self._look()
        if epoch == self._epoch:
            return False
        self._epoch = epoch
        return True

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _notified(self) -> bool:
        """Something came in, or libpq read it together with an answer before. Also when the server closed its side."""
        assert self._connection is not None
        return self._connection.pgconn.notifies() is not None or _has_input(self._connection)

    def _look(self) -> int:
        now = time.monotonic()
        if self._connection is None and now < self._connect_at:
            raise UnavailableError(self._problem)
        try:
            if self._connection is None:
                self._connection = connect(self._url)
                self._connection.add_notify_handler(lambda _notification: None)  # or they would be kept for ever
                self._connection.execute(f"LISTEN {CHANNEL}")
            row = self._connection.execute("SELECT epoch FROM ledger").fetchone()
        except psycopg.Error as error:
            self.close()
            self._connect_at = now + _RECONNECT_EVERY_SECONDS
            self._problem = f"the database cannot be read: {str(error).strip()}"
            raise UnavailableError(self._problem) from error
        self._look_at = now + _LOOK_EVERY_SECONDS
        return int(row[0]) if row is not None else 0


def _has_input(connection: StoreConnection) -> bool:
    """Whether bytes, or the end of them, wait on an idle connection."""
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN)
    except psycopg.Error:
        return True
    return bool(poll.poll(0))
