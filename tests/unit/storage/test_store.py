"""Transactions: all or nothing, one epoch each, one batch each, and a clear word when the database cannot do it."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from evertunnel.actions.authenticate import LoginFacts, record_login
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import UnavailableError
from evertunnel.model import Attempt, AttemptKind, Outcome, Reason
from evertunnel.storage import tables
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.sqlite import VersionWatch
from evertunnel.storage.store import Store, Watch, new_id, read_epoch
from tests.installation import BEGINNING, Installation

ENTRY = AuditEntry(Audit.USER_ADD, "ann", "alice", "u1")


def count(store: Store, table: str) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(tables.metadata.tables[table])).scalar_one()


def find_epoch(store: Store) -> int:
    with store.read() as connection:
        return read_epoch(connection)


def make_attempt() -> Attempt:
    return Attempt(new_id(), BEGINNING, AttemptKind.USER_TUNNEL, Outcome.REFUSED, Reason.USER_DENIED)


def test_a_transaction_that_records_nothing_leaves_no_batch_and_no_epoch(installation: Installation) -> None:
    store = installation.store
    before = (find_epoch(store), count(store, "batches"))
    with store.write(BEGINNING):
        pass
    assert (find_epoch(store), count(store, "batches")) == before


def test_one_transaction_is_one_batch_whatever_it_records(installation: Installation) -> None:
    store = installation.store
    before = count(store, "batches")
    with store.write(BEGINNING) as tx:
        for _ in range(3):
            tx.record(ENTRY)
            tx.record_attempt(make_attempt())
    assert count(store, "batches") == before + 1


def test_what_is_inserted_later_is_there_when_it_was_committed(installation: Installation) -> None:
    store = installation.store
    before = count(store, "groups")
    with store.write(BEGINNING) as tx:
        for name in ("a", "b", "c"):
            tx.insert_later(tables.groups, {"id": name, "name": name, "name_key": name, "created_at": 0})
        assert count(store, "groups") == before
    assert count(store, "groups") == before + 3


def test_one_transaction_raises_the_epoch_once_and_says_all_it_changed(installation: Installation) -> None:
    store = installation.store
    before = find_epoch(store)
    with store.write(BEGINNING) as tx:
        for subject_id in ("a", "b", "c"):
            tx.raise_epoch("user", subject_id)
    assert find_epoch(store) == before + 1
    with store.read() as connection:
        rows = connection.execute(select(tables.changes).where(tables.changes.c.epoch == before + 1)).all()
    assert sorted(row.subject_id for row in rows) == ["a", "b", "c"]


def test_an_exception_undoes_everything(installation: Installation) -> None:
    store = installation.store
    before = (find_epoch(store), count(store, "batches"), count(store, "audit"), count(store, "changes"))

    def change_and_fail() -> None:
        with store.write(BEGINNING) as tx:
            tx.connection.execute(insert(tables.groups).values(id="g", name="g", name_key="g", created_at=BEGINNING))
            tx.raise_epoch("group", "g")
            tx.record(ENTRY)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert (find_epoch(store), count(store, "batches"), count(store, "audit"), count(store, "changes")) == before
    assert count(store, "groups") == 0


def test_a_reader_sees_one_moment_although_somebody_commits(installation: Installation) -> None:
    store = installation.store
    with store.read() as connection:
        before = read_epoch(connection)
        with store.write(BEGINNING) as tx:
            tx.raise_epoch("user", "u")
        assert read_epoch(connection) == before
    assert find_epoch(store) == before + 1


def test_a_watch_notices_what_others_commit_once(installation: Installation) -> None:
    watch = Watch(installation.store)
    assert not watch.changed()
    with installation.store.write(BEGINNING) as tx:
        tx.raise_epoch("user", "u")
    until = time.monotonic() + 0.5  # PostgreSQL's server tells it in a moment of its own
    while not watch.changed():
        assert time.monotonic() < until
    assert not watch.changed()
    with installation.store.read() as connection:
        read_epoch(connection)
    assert not watch.changed()
    watch.close()


def test_a_watch_that_could_not_read_notices_the_change_when_it_can(sqlite_installation: Installation) -> None:
    installation = sqlite_installation
    watch = Watch(installation.store)
    source = watch._source
    assert isinstance(source, VersionWatch)
    with installation.store.write(BEGINNING) as tx:
        tx.raise_epoch("user", "u")
    driver: Any = source._connection
    driver.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_READ else 0)
    with pytest.raises(UnavailableError, match="prohibited"):
        watch.changed()
    driver.set_authorizer(None)
    assert watch.changed()
    watch.close()


def test_a_database_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/missing/evertunnel.db")
    with pytest.raises(UnavailableError, match="cannot be read: unable to open database file"), store.read():
        pass
    with pytest.raises(UnavailableError, match="cannot be written"), store.write(BEGINNING):
        pass
    store.close()


def test_a_database_without_our_tables_is_unavailable(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(UnavailableError, match="no such table: ledger"), store.write(BEGINNING):
        pass
    store.close()


def test_a_write_waits_for_another_one_and_then_goes_on(sqlite_installation: Installation, tmp_path: Path) -> None:
    installation = sqlite_installation
    other = sqlite3.connect(tmp_path / "evertunnel.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE ledger SET epoch = epoch + 1")
    before = find_epoch(installation.store)
    other.execute("COMMIT")
    with installation.store.write(BEGINNING) as tx:
        assert tx.epoch == before + 1
    other.close()


def test_a_url_of_another_kind_of_database_is_refused() -> None:
    with pytest.raises(UnavailableError, match="no kind of database is called 'mysql'"):
        Store("mysql://localhost/evertunnel")


def test_what_was_committed_is_on_disk_before_write_returns(sqlite_installation: Installation) -> None:
    with sqlite_installation.store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_a_fresh_schema_begins_at_epoch_one_with_nothing_recorded(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/new.db")
    upgrade_schema(store)
    assert (find_epoch(store), count(store, "batches")) == (1, 0)
    store.close()


def test_ids_do_not_repeat() -> None:
    ids = {new_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(one) == 16 for one in ids)


@contextmanager
def held_for(store: Store, seconds: float) -> Iterator[None]:
    """Another writer has the database for so long."""
    other = Store(store.url)
    taken = threading.Event()

    def hold() -> None:
        with other.write(BEGINNING):
            taken.set()
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    yield
    thread.join()
    other.close()


def test_who_waited_for_the_right_to_write_decides_about_the_moment_at_which_he_got_it(
    installation: Installation,
) -> None:
    with held_for(installation.store, 0.4), installation.store.write(BEGINNING) as tx:
        assert timedelta(seconds=0.3) < tx.now - BEGINNING < timedelta(seconds=10)


def test_a_moment_that_was_seen_stays(installation: Installation) -> None:
    with held_for(installation.store, 0.3), installation.store.write(BEGINNING, fixed=True) as tx:
        assert tx.now == BEGINNING
    with installation.store.write(BEGINNING) as tx:
        assert tx.now == BEGINNING


def test_a_login_whose_certificate_ends_while_it_waits_is_refused(installation: Installation) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    certificate_id = installation.issue_user(installation.add_user())
    gateway_id = installation.add_gateway()
    certificate = installation.find_certificate(certificate_id)
    gateway = installation.decider.find_gateway(gateway_id)
    assert gateway is not None
    began = certificate.not_after - timedelta(seconds=0.2)
    login = LoginFacts(began, gateway, 1, "", "192.0.2.7", certificate, (), 1.0)
    with installation.store.write(began) as tx:
        assert record_login(tx, installation.decider, login)[0].granted
    with held_for(installation.store, 0.5), installation.store.write(began) as tx:
        installation.decider.refresh(tx.connection)
        assert record_login(tx, installation.decider, login)[0].reason is Reason.CERTIFICATE_EXPIRED


def test_any_number_of_watches_leaves_connections_for_everybody_else(sqlite_installation: Installation) -> None:
    store = sqlite_installation.store
    watches = [Watch(store) for _ in range(40)]
    sqlite_installation.add_user()
    assert all(watch.changed() for watch in watches)
    for watch in watches:
        watch.close()
    assert store._watches == []
