"""A database of an older schema becomes one of this version, and holds what it held."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from evertunnel.storage.schema import _configure, upgrade_schema
from evertunnel.storage.schema_version import verify_schema
from evertunnel.storage.store import Store
from evertunnel.storage.tables import metadata


def test_a_database_of_the_first_schema_is_upgraded_and_keeps_its_gateways(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/old.db")
    with store.engine.connect().execution_options(write=True) as connection, connection.begin():
        configuration = _configure()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
        connection.execute(
            text(
                "INSERT INTO gateways (id, name, name_key, public_name, radius_address, radius_secret_sealed,"
                " gate_path_sealed, vici_socket, settings, enabled, created_at)"
                " VALUES ('g1', 'gw1', 'gw1', 'vpn', '127.0.0.1', x'00', x'00', '/run/charon.vici', '{}', 1, 0)"
            )
        )
    upgrade_schema(store)
    verify_schema(store)
    with store.read() as connection:
        row = connection.execute(text("SELECT name, state, state_since, state_error FROM gateways")).one()
        assert tuple(row) == ("gw1", "unknown", None, "")
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    store.close()
