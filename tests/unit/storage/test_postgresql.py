"""What PostgreSQL does to us: it goes away and comes back, others hold its locks, it warns instead of failing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import event, select, text

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import UnavailableError
from evertunnel.model import Attempt, AttemptKind, Outcome, Reason
from evertunnel.storage import tables
from evertunnel.storage.store import Store, Watch, new_id, read_epoch
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import BEGINNING, Installation
from tests.postgresql import Original

ENTRY = AuditEntry(Audit.USER_ADD, "ann", "alice", "u1")


@pytest.fixture
def store(postgresql_installation: Installation) -> Store:
    return postgresql_installation.store


@contextmanager
def watching(store: Store) -> Iterator[Watch]:
    watch = Watch(store)
    yield watch
    watch.close()


def raise_epoch(store: Store) -> None:
    with store.write(BEGINNING) as tx:
        tx.raise_epoch("user", "u")


def read(store: Store) -> int:
    with store.read() as connection:
        return read_epoch(connection)


def wait_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + 10
        time.sleep(0.001)
    return time.monotonic() - began


def end_connections(url: str) -> None:
    """As an administrator of the server does, and wait until it happened."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def test_a_commit_is_heard_at_once_by_another_node(store: Store) -> None:
    with watching(Store(store.url)) as watch:
        assert not watch.changed()
        for _ in range(5):
            raise_epoch(store)
            assert wait_until(watch.changed) < 0.5
            assert not watch.changed()


def test_a_change_that_nobody_announced_is_found_within_a_second_or_so(store: Store) -> None:
    with watching(store) as watch, psycopg.connect(store.url) as other:
        other.execute("UPDATE ledger SET epoch = epoch + 1")
        other.commit()
        assert 0.1 < wait_until(watch.changed) < 3


def test_noise_on_the_channel_is_not_a_change(store: Store) -> None:
    with watching(store) as watch, psycopg.connect(store.url, autocommit=True) as other:
        for _ in range(20):
            other.execute("NOTIFY evertunnel, 'noise'")
            assert not watch.changed()


def test_idle_connections_that_were_ended_are_replaced_without_anybody_noticing(store: Store) -> None:
    before = read(store)
    end_connections(store.url)
    assert read(store) == before
    end_connections(store.url)
    raise_epoch(store)
    assert read(store) == before + 1


def test_connections_that_end_just_before_they_are_used_are_replaced_too(store: Store) -> None:
    """The server ends them in its own time: often only after we looked whether they are alive."""
    before = read(store)

    def end_them(_connection: object, _record: object, _proxy: object) -> None:
        end_connections(store.url)

    event.listen(store.engine, "checkout", end_them, once=True)
    assert read(store) == before
    event.listen(store.engine, "checkout", end_them, once=True)
    raise_epoch(store)
    assert read(store) == before + 1


def test_a_watch_whose_connection_was_ended_says_what_changed_meanwhile(store: Store) -> None:
    with watching(store) as watch:
        end_connections(store.url)
        raise_epoch(store)
        with pytest.raises(UnavailableError, match="cannot be read"):
            watch.changed()
        with pytest.raises(UnavailableError, match="cannot be read"):
            watch.changed()  # and does not knock all the time
        time.sleep(0.6)
        assert watch.changed()
        assert not watch.changed()


def test_a_transaction_whose_connection_is_ended_leaves_nothing(store: Store) -> None:
    before = read(store)

    def write_and_lose() -> None:
        with store.write(BEGINNING) as tx:
            tx.raise_epoch("user", "u")
            tx.record(ENTRY)
            end_connections(store.url)

    with pytest.raises(UnavailableError, match="cannot be written"):
        write_and_lose()
    assert read(store) == before


def test_a_node_that_stops_in_a_transaction_does_not_stop_the_others(postgresql_original: Original) -> None:
    postgresql_original.restore()
    impatient = Store(postgresql_original.url + "&options=-c%20idle_in_transaction_session_timeout%3D300")
    other = Store(postgresql_original.url)
    waited = []

    def write() -> None:
        began = time.monotonic()
        raise_epoch(other)
        waited.append(time.monotonic() - began)

    def write_and_stop() -> None:
        with impatient.write(BEGINNING) as tx:
            tx.raise_epoch("user", "u")
            thread = threading.Thread(target=write)
            thread.start()
            thread.join(timeout=20)

    with pytest.raises(UnavailableError, match="cannot be written"):
        write_and_stop()
    assert len(waited) == 1 and 0.2 < waited[0] < 5
    impatient.close()
    other.close()


def test_who_waits_too_long_for_the_ledger_is_told_so(postgresql_original: Original) -> None:
    postgresql_original.restore()
    store = Store(postgresql_original.url + "&options=-c%20lock_timeout%3D200")
    with psycopg.connect(store.url) as other:
        other.execute("SELECT * FROM ledger FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="lock timeout"):
            raise_epoch(store)
        assert time.monotonic() - began < 4
    raise_epoch(store)
    store.close()


def test_a_statement_that_takes_too_long_is_ended(postgresql_original: Original) -> None:
    store = Store(postgresql_original.url + "&options=-c%20statement_timeout%3D100")
    with pytest.raises(UnavailableError, match="statement timeout"), store.read() as connection:
        connection.execute(text("SELECT pg_sleep(10)"))
    store.close()


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(UnavailableError, match="read-only transaction"), store.read() as connection:
        connection.execute(text("UPDATE ledger SET epoch = 0"))


def test_commits_wait_for_the_disk_whatever_the_server_or_the_url_says(postgresql_original: Original) -> None:
    store = Store(postgresql_original.url + "&options=-c%20synchronous_commit%3Doff")
    with store.read() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    store.close()


def test_a_nul_in_what_a_stranger_claims_harms_no_record(installation: Installation) -> None:
    attempt = Attempt(
        new_id(), BEGINNING, AttemptKind.USER_TUNNEL, Outcome.REFUSED, Reason.USER_DENIED, claimed_identity="a\0b"
    )
    with installation.store.write(BEGINNING) as tx:
        tx.record_attempt(attempt)
        assert tx.connection.execute(select(tables.users).where(tables.users.c.name_key == "a\0")).first() is None
    with installation.store.read() as connection:
        statement = select(tables.attempts.c.claimed_identity).where(tables.attempts.c.id == attempt.id)
        assert connection.execute(statement).scalar_one() == "a\ufffdb"
        assert verify_chain(connection).problems == []


def test_without_a_server_it_is_unavailable_at_once() -> None:
    store = Store("postgresql:///x?host=/nowhere")
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(UnavailableError, match="cannot be read"), store.read():
            pass
        with pytest.raises(UnavailableError, match="cannot be written"), store.write(BEGINNING):
            pass
    with watching(store) as watch, pytest.raises(UnavailableError):
        watch.changed()
    assert time.monotonic() - began < 5
    store.close()
