"""Copying an installation from one database to another: every row, whole or not at all, whichever way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, inspect, select, text, update

from evertunnel.actions.add_totp import add_totp
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.change_user import change_user
from evertunnel.actions.deny import deny
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.model import SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.copy import copy_storage
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import ALICE, BEGINNING, Installation
from tests.postgresql import Server
from tests.unit.storage.test_verify_chain import record_batches


@pytest.fixture
def filled(installation: Installation) -> Installation:
    """An installation with a row in most tables."""
    user_id, device_id = installation.add_user(), installation.add_device()
    installation.add_gateway()
    installation.do(add_network_policy, "ünïcode", {"permission": "grant"})
    installation.issue_user(user_id, device_id=device_id)
    installation.do(change_user, ALICE, password="correct horse")
    installation.do(add_totp, ALICE, seal=installation.seal_sign_in)
    installation.issue_device(device_id)
    record_batches(installation)
    installation.do(deny, SubjectKind.USER, ALICE, reason="left")
    return installation


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, postgresql_server: Server, tmp_path: Path) -> Iterator[Store]:
    """An empty database of either kind."""
    name = postgresql_server.make_database() if request.param == "postgresql" else ""
    store = Store(postgresql_server.url(name) if name else f"sqlite:///{tmp_path}/target.db")
    yield store
    store.close()
    if name:
        postgresql_server.drop_database(name)


def read_rows(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    with store.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in tables.metadata.sorted_tables
        }


def ignore(*_progress: object) -> None:
    """Nobody looks."""


def test_every_row_is_there_and_the_chain_goes_on(filled: Installation, target: Store) -> None:
    before = read_rows(filled.store)
    told: list[tuple[str, int, int]] = []
    copied = copy_storage(filled.store, target, on_progress=lambda *progress: told.append(progress))
    assert read_rows(target) == before == read_rows(filled.store)
    assert copied == sum(map(len, before.values()))
    assert {name: rows for name, copied, rows in told if copied == rows} == {k: len(v) for k, v in before.items()}
    with target.write(BEGINNING) as tx:
        tx.raise_epoch("user", "x")
    with target.read() as connection:
        assert verify_chain(connection).problems == []


def test_a_target_that_holds_anything_is_refused_and_stays(filled: Installation, target: Store) -> None:
    upgrade_schema(target)
    with pytest.raises(InvalidInputError, match="is not empty"):
        copy_storage(filled.store, target, on_progress=ignore)
    with target.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.audit)).scalar_one() == 0
        assert inspect(connection).has_table("ledger")


def test_a_source_that_was_tampered_with_is_refused_and_the_target_is_empty_again(
    filled: Installation, target: Store
) -> None:
    with filled.store.write(BEGINNING) as tx:
        tx.connection.execute(update(tables.audit).values(actor="somebody else"))
    with pytest.raises(InvalidInputError, match="copy from does not verify: batch 1"):
        copy_storage(filled.store, target, on_progress=ignore)
    assert list_tables(target) == []


def stop_at(name: str, error: BaseException) -> Callable[[str, int, int], None]:
    def on_progress(table: str, copied: int, rows: int) -> None:
        if table == name and copied == rows:
            raise error

    return on_progress


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UnavailableError("away"), ZeroDivisionError()])
def test_what_ends_half_way_leaves_the_target_empty(filled: Installation, target: Store, error: BaseException) -> None:
    with pytest.raises(type(error)):
        copy_storage(filled.store, target, on_progress=stop_at("attempts", error))
    assert list_tables(target) == []


def test_what_a_text_of_postgresql_cannot_hold_is_refused_and_not_changed(
    sqlite_installation: Installation, postgresql_server: Server
) -> None:
    # An identity with a NUL, recorded before those were replaced.
    with sqlite_installation.store.write(BEGINNING) as tx:
        tx._audit.append({"id": "x", "at": 0, "name": "user:add", "actor": "a\0b", "subject": "", "subject_id": "",
                          "details": "{}", "batch": 2})  # fmt: skip
    target = Store(postgresql_server.url(postgresql_server.make_database()))
    with pytest.raises(InvalidInputError, match=r"the copy does not verify: batch 2 .* its records were changed"):
        copy_storage(sqlite_installation.store, target, on_progress=ignore)
    assert list_tables(target) == []
    target.close()


def test_a_database_of_another_version_is_not_copied(filled: Installation, target: Store) -> None:
    with filled.store.write(BEGINNING) as tx:
        found = tx.connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        tx.connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(InvalidInputError, match="run `evertunnel upgrade`"):
        copy_storage(filled.store, target, on_progress=ignore)
    with filled.store.write(BEGINNING) as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})


def list_tables(store: Store) -> list[str]:
    with store.read() as connection:
        return inspect(connection).get_table_names()
