"""The two kinds of database by their URLs, and what differs between them outside SQL."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import Connection, Engine

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.storage import sqlite

# Each commit that raises the epoch says so on this channel of PostgreSQL. The epoch itself is the truth.
CHANNEL = "evertunnel"

_POSTGRESQL = ("postgresql", "postgres")
_SECRETS = ("password", "sslpassword")


class EpochSource(Protocol):
    """How a kind of database tells that the epoch was raised."""

    def changed(self) -> bool:
        """Whether it was since this was asked last. Raises UnavailableError."""

    def close(self) -> None:
        """Let go of it."""


def verify_url(url: str) -> None:
    """Raise InvalidInputError for a URL of neither kind, and for one with a password, which others could read."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError as error:
        raise InvalidInputError(f"the database's URL cannot be read: {error}") from None
    if parts.scheme == "sqlite":
        return
    if parts.scheme not in _POSTGRESQL:
        raise InvalidInputError(
            f"{parts.scheme or 'nothing'!r} is no kind of database: the URL begins with sqlite:/// or postgresql://"
        )
    if password is not None or any(name in _SECRETS for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise InvalidInputError(
            "the database's URL has a password in it, which others can read: "
            "use peer authentication over a Unix socket, or PGPASSFILE, PGPASSWORD or a service file"
        )


def is_postgresql(url: str) -> bool:
    """Whether a URL names PostgreSQL."""
    return urlsplit(url).scheme in _POSTGRESQL


def open_engine(url: str) -> Engine:
    """Connections to a database of either kind. Nothing is connected yet. Raises UnavailableError."""
    if not is_postgresql(url):
        if not url.startswith("sqlite:"):
            raise UnavailableError(f"no kind of database is called {urlsplit(url).scheme!r}")
        return sqlite.open_engine(url)
    try:
        from evertunnel.storage import postgresql
    except ImportError as error:
        raise UnavailableError(
            f"PostgreSQL's driver is not installed: pip install 'evertunnel[postgresql]' ({error})"
        ) from error
    return postgresql.open_engine(url)


def watch_epoch(engine: Engine, url: str) -> EpochSource:
    """Notices when the epoch is raised."""
    if engine.dialect.name == "sqlite":
        return sqlite.VersionWatch(engine)
    from evertunnel.storage import postgresql

    return postgresql.NotificationWatch(url)


def hold_name(engine: Engine, name: str) -> AbstractContextManager[bool]:
    """Hold a name among all nodes; alone on its machine nobody needs to ask."""
    if engine.dialect.name == "sqlite":
        return nullcontext(True)
    from evertunnel.storage import postgresql

    return postgresql.hold_name(engine, name)


def verify_committed(connection: Connection) -> None:
    """Raise UnavailableError when a commit was told as done that a synchronous standby may not have."""
    warning = getattr(connection.connection.driver_connection, "unconfirmed", None)
    if warning is not None:
        raise UnavailableError(f"the commit may be lost in a fail-over: {warning}")
