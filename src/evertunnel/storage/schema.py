"""Creating and upgrading the schema, through Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, select, text

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.storage import tables
from evertunnel.storage.store import UNAVAILABLE, Store, create_ledger, explain

_ADVISORY_LOCK = 0x65766572  # any number, the same for all


def upgrade_schema(store: Store) -> None:
    """Bring a database, empty ones included, to this version's schema; all or nothing. Raises UnavailableError."""
    try:
        with store.engine.connect().execution_options(write=True) as connection, connection.begin():
            _be_alone(connection)
            configuration = _configure()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
            if connection.execute(select(tables.ledger.c.id)).first() is None:
                create_ledger(connection)
    except UNAVAILABLE as error:
        raise UnavailableError(f"the database cannot be made or upgraded: {explain(error)}") from error


def verify_empty(store: Store) -> None:
    """Raise InvalidInputError when the database holds any table. Raises UnavailableError."""
    with store.read() as connection:
        found = inspect(connection).get_table_names()
    if found:
        raise InvalidInputError(
            f"the database {store.url} is not empty: it has a table {sorted(found)[0]!r}; name another one, or remove "
            "what is in it if a command left it that was killed"
        )


def remove_schema(store: Store) -> None:
    """Take back what `upgrade_schema` made in an empty database, with everything in it. Raises UnavailableError."""
    try:
        with store.engine.connect().execution_options(write=True) as connection, connection.begin():
            _be_alone(connection)
            tables.metadata.drop_all(connection)
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    except UNAVAILABLE as error:
        raise UnavailableError(f"the database cannot be emptied again: {explain(error)}") from error


def _be_alone(connection: Connection) -> None:
    """Several nodes may be started anew together. Changing a large table takes as long as it takes."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        connection.execute(text("SET LOCAL statement_timeout = 0"))


def _configure() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return configuration
