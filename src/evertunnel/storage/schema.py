"""Creating and upgrading the schema, through Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import select

from evertunnel.errors import UnavailableError
from evertunnel.storage import tables
from evertunnel.storage.store import UNAVAILABLE, Store, create_ledger, explain


def upgrade_schema(store: Store) -> None:
    """Bring a database, empty ones included, to this version's schema; all or nothing. Raises UnavailableError."""
    try:
        with store.engine.connect().execution_options(write=True) as connection, connection.begin():
            configuration = _configure()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
            if connection.execute(select(tables.ledger.c.id)).first() is None:
                create_ledger(connection)
    except UNAVAILABLE as error:
        raise UnavailableError(f"the database cannot be made or upgraded: {explain(error)}") from error


def _configure() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return configuration
