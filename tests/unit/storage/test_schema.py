"""A database of an older schema becomes one of this version, and holds what it held."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from evertunnel.model import AccessAuthorityState, CertificateKind
from evertunnel.storage import access_authorities, certificates
from evertunnel.storage.schema import _configure, upgrade_schema
from evertunnel.storage.schema_version import verify_schema
from evertunnel.storage.snapshot import Snapshot, follow
from evertunnel.storage.store import Store
from evertunnel.storage.tables import metadata
from tests.installation import ALICE, Installation
from tests.postgresql import Server


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


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database of either kind without a schema."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path}/old.db")
        yield store
        store.close()
        return
    server: Server = request.getfixturevalue("postgresql_server")
    name = server.make_database()
    store = Store(server.url(name))
    yield store
    store.close()
    server.drop_database(name)


def test_a_database_from_before_authenticator_apps_keeps_its_users_and_certificates(empty: Store) -> None:
    with empty.engine.connect().execution_options(write=True) as connection, connection.begin():
        configuration = _configure()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0005")
        bytes_ = {"der": b"\0"}
        connection.execute(
            text(
                "INSERT INTO users (id, name, name_key, display_name, password_hash, enabled, created_at)"
                " VALUES ('u1', 'alice@x', 'alice@x', 'Alice', 'hash', true, 0)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO authorities (name, certificate_der, created_at, revocations)"
                " VALUES ('issuing', :der, 0, 0)"
            ),
            bytes_,
        )
        connection.execute(
            text(
                "INSERT INTO certificates (id, authority, serial, kind, status, subject_name, dns_names,"
                " public_key_der, not_before, not_after, user_id, granted_by, granted_at, fingerprint)"
                " VALUES ('c1', 'issuing', '1', 'user', 'valid', 'alice@x', '[]',"
                " :der, 0, 1, 'u1', 'ann', 0, :der)"
            ),
            bytes_,
        )
    upgrade_schema(empty)
    verify_schema(empty)
    with empty.read() as connection:
        row = connection.execute(text("SELECT user_id, methods, signed_in_at FROM certificates")).one()
        assert tuple(row) == ("u1", "", None)
        assert connection.execute(text("SELECT count(*) FROM totp")).scalar_one() == 0
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        snapshot = Snapshot()
        follow(connection, snapshot)
    assert snapshot.certificates_by_id["c1"].methods == ()


def test_the_way_back_is_there(empty: Store) -> None:
    upgrade_schema(empty)
    with empty.engine.connect().execution_options(write=True) as connection, connection.begin():
        configuration = _configure()
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "0005")
        command.upgrade(configuration, "head")
    verify_schema(empty)
    with empty.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_one_access_authority_of_before_is_the_one_that_signs(either_installation: Installation) -> None:
    """An installation with a certificate of it, taken back to the schema of before and upgraded again."""
    made = either_installation
    owners = {"user_id": made.add_user(), "device_id": made.add_device()}
    before = made.issue(CertificateKind.SHORT_LIVED, ALICE, **owners)
    with made.store.engine.connect().execution_options(write=True) as connection, connection.begin():
        configuration = _configure()
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "0008")
        tables = connection.execute(text("SELECT name FROM authorities ORDER BY name")).scalars().all()
        assert tables == ["access", "device", "issuing", "root"]
    upgrade_schema(made.store)
    verify_schema(made.store)
    with made.store.read() as connection:
        (found,) = access_authorities.list_access_authorities(connection)
        assert certificates.find_last_end(connection, "access", made.now) == made.now + timedelta(hours=1)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert (found.name, found.generation, found.state) == ("access", 1, AccessAuthorityState.ACTIVE)
    assert found.trusted and found.activated_at == found.created_at
    assert made.find_certificate(before.id).authority == "access"
    assert made.issue(CertificateKind.SHORT_LIVED, ALICE, **owners).chain_der == before.chain_der
