"""Creating and upgrading the schema."""

from sqlalchemy.exc import DBAPIError

from evertunnel.errors import UnavailableError
from evertunnel.storage import tables
from evertunnel.storage.store import Store, create_ledger


def create_schema(store: Store) -> None:
    """A fresh database. Raises UnavailableError."""
    try:
        with store.engine.begin() as connection:
            tables.metadata.create_all(connection)
            create_ledger(connection)
    except DBAPIError as error:
        raise UnavailableError(f"the database cannot be made: {error.orig}") from error
