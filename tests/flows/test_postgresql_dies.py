"""PostgreSQL killed and started again, or replaced by its standby, in the middle of commits from two nodes.

Whatever was answered is there afterwards, nothing is answered without a commit, and everybody comes back alone.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from evertunnel.clock import now
from evertunnel.errors import UnavailableError
from evertunnel.model import Attempt, AttemptKind, Outcome, Reason
from evertunnel.storage import tables
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.store import Store, Watch, new_id
from evertunnel.storage.verify_chain import verify_chain
from tests.postgresql import Server, running, standing_by

NODES = 2
KILLS = 6


class Node:
    """Commits one attempt after the other and remembers those it would have answered."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.watch = Watch(self.store)
        self.answered: list[str] = []
        self.failed = 0
        self.worst_seconds = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.watch.close()
        self.store.close()

    def hears_of_changes(self) -> bool:
        try:
            return self.watch.changed()
        except UnavailableError:
            return False

    def _run(self) -> None:
        while not self._stopped.is_set():
            attempt = Attempt(new_id(), now(), AttemptKind.USER_TUNNEL, Outcome.GRANTED, Reason.GRANTED)
            began = time.monotonic()
            try:
                with self.store.write(now()) as tx:
                    tx.record_attempt(attempt)
                    tx.raise_epoch("user", "u")
            except UnavailableError:
                self.failed += 1
                time.sleep(0.01)
            else:
                self.answered.append(attempt.id)
            self.worst_seconds = max(self.worst_seconds, time.monotonic() - began)


@contextmanager
def nodes(url: str) -> Iterator[list[Node]]:
    store = Store(url)
    upgrade_schema(store)
    store.close()
    with ExitStack() as stack:
        made = [Node(url) for _ in range(NODES)]
        for node in made:
            stack.callback(node.close)
        yield made


def wait_for_answers(found: list[Node], count: int = 5) -> None:
    """Each node answers again so many times; nobody had to tell it."""
    wanted = [len(node.answered) + count for node in found]
    until = time.monotonic() + 20
    while any(len(node.answered) < number for node, number in zip(found, wanted, strict=True)):
        assert time.monotonic() < until, "did not come back"
        time.sleep(0.01)


def verify(url: str, found: list[Node]) -> None:
    until = time.monotonic() + 5
    while not all(node.hears_of_changes() for node in found):
        assert time.monotonic() < until, "a watch did not come back"
        time.sleep(0.1)
    for node in found:
        node.stop()
    store = Store(url)
    with store.read() as connection:
        stored = set(connection.execute(tables.attempts.select().with_only_columns(tables.attempts.c.id)).scalars())
        assert verify_chain(connection).problems == []
    store.close()
    answered = {attempt_id for node in found for attempt_id in node.answered}
    assert not answered - stored, "an answered login was lost"
    # What was committed although nobody was told is at most what was in the air at a death.
    assert len(stored - answered) <= sum(node.failed for node in found)
    for number, node in enumerate(found, 1):
        print(
            f"node {number}: {len(node.answered)} answered, {node.failed} not, longest wait {node.worst_seconds:.2f} s"
        )
    print(f"{len(stored)} stored, {len(stored - answered)} of them never answered, 0 answered and lost")


def test_killed_and_started_again_in_the_middle_of_commits() -> None:
    chance = random.Random(7)
    with running(durable=True) as server:
        url = server.url(server.make_database())
        with nodes(url) as found:
            for _ in range(KILLS):
                wait_for_answers(found)
                time.sleep(chance.uniform(0, 0.1))
                server.kill()
                time.sleep(0.05)
                server.start(max_connections="200")
            wait_for_answers(found)
            assert all(node.failed for node in found)
            assert max(node.worst_seconds for node in found) < 5
            verify(url, found)


@contextmanager
def pair() -> Iterator[tuple[Server, Server, str]]:
    """A primary that commits only what its standby has, too, and the URL of whichever takes writes."""
    with running(durable=True) as primary:
        name = primary.make_database()
        with standing_by(primary, "spare") as standby:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'spare'")
            primary.execute("SELECT pg_reload_conf()")
            with psycopg.connect(primary.url("postgres"), autocommit=True) as connection:
                query = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
                while connection.execute(query).fetchone() is None:
                    time.sleep(0.01)
            yield primary, standby, primary.url(name, standby)


def test_a_synchronous_standby_takes_over_in_the_middle_of_commits() -> None:
    with pair() as (primary, standby, url), nodes(url) as found:
        wait_for_answers(found, 30)
        primary.kill()
        # It takes writes again without its own standby.
        standby.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        time.sleep(0.2)
        assert all(node.failed for node in found)
        standby.promote()
        wait_for_answers(found, 30)
        verify(url, found)


def test_a_commit_that_stopped_waiting_for_the_standby_is_not_answered() -> None:
    with pair() as (primary, standby, url):
        store = Store(url)
        upgrade_schema(store)
        standby.stop()

        def cancel() -> None:
            with psycopg.connect(primary.url("postgres"), autocommit=True) as connection:
                query = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                while connection.execute(query).fetchone() is None:
                    time.sleep(0.01)

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(UnavailableError, match="may be lost in a fail-over"), store.write(now()) as tx:
            tx.raise_epoch("user", "u")
        thread.join()
        store.close()
