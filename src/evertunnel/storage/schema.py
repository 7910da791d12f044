"""Creating and upgrading the schema."""

from evertunnel.storage import tables
from evertunnel.storage.store import Store, create_ledger


def create_schema(store: Store) -> None:
    """A fresh database."""
    with store.engine.begin() as connection:
        tables.metadata.create_all(connection)
        create_ledger(connection)
