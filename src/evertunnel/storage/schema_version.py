"""Which schema this version needs. Apart from the migrations: every start asks, and Alembic takes long to load."""

from sqlalchemy import inspect, text

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.storage.store import Store

CURRENT = "0015"


def verify_schema(store: Store) -> None:
    """Raise InvalidInputError unless the database has exactly this version's schema."""
    try:
        with store.read() as connection:
            known = inspect(connection).has_table("alembic_version")
            query = text("SELECT version_num FROM alembic_version")
            found = connection.execute(query).scalar_one_or_none() if known else None
    except UnavailableError as error:
        raise InvalidInputError(str(error)) from error
    if found != CURRENT:
        raise InvalidInputError(
            f"the database has schema {found or 'none'}, this version needs {CURRENT}: run `evertunnel upgrade`"
        )
