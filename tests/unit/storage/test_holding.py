"""Effects are claimed by one node at a time: each is performed once, and who dies lets go."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection

import pytest

from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.errors import UnavailableError
from evertunnel.storage import effect_queue
from evertunnel.storage.store import Store
from tests.installation import BEGINNING, Installation
from tests.postgresql import Original

NAME = "effects of g1"


def queue(store: Store, count: int) -> None:
    with store.write(BEGINNING) as tx:
        for number in range(count):
            effect_queue.queue_effect(tx, EffectKind.CUT, ["g1"], EffectSubject.USER, f"u{number}", cause="test",
                                      denial_id="d1")  # fmt: skip


def perform(store: Store, performed: list[str]) -> None:
    """What a gateway's worker does, on each node."""
    while True:
        with store.hold(NAME) as held:
            if not held:
                continue
            with store.read() as connection:
                pending = effect_queue.list_pending(connection, "g1")
            for effect in pending[:3]:
                performed.append(effect.id)
                time.sleep(0.005)
                with store.write(BEGINNING) as tx:
                    effect_queue.confirm_effects(tx, [effect.id])
        if not pending:
            return


def test_nodes_that_race_perform_each_effect_once(postgresql_installation: Installation) -> None:
    queue(postgresql_installation.store, 30)
    stores = [Store(postgresql_installation.store.url) for _ in range(3)]
    performed: list[str] = []
    threads = [threading.Thread(target=perform, args=(store, performed)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(performed) == len(set(performed)) == 30
    with stores[0].read() as connection:
        assert {(row.state, row.tries) for row in effect_queue.list_of_denial(connection, "d1")} == {("confirmed", 1)}
    for store in stores:
        store.close()


def hold_for_ever(url: str, told: Connection) -> None:
    with Store(url).hold(NAME) as held:
        told.send(held)
        time.sleep(60)


@pytest.fixture
def url(postgresql_original: Original) -> str:
    return postgresql_original.url


def test_who_holds_it_stops_the_others_until_killed(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    told, tell = spawn.Pipe()
    process = spawn.Process(target=hold_for_ever, args=(url, tell))
    process.start()
    assert told.recv()
    store = Store(url)
    with store.hold("effects of another gateway") as held:
        assert held
    with store.hold(NAME) as held:
        assert not held
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with store.hold(NAME) as held:
        assert held
    store.close()


def test_nobodys_writes_wait_for_it(url: str) -> None:
    holder, writer = Store(url), Store(url)
    with holder.hold(NAME):
        began = time.monotonic()
        with writer.write(BEGINNING) as tx:
            effect_queue.drop_effects(tx, "u1")
        assert time.monotonic() - began < 3
    holder.close()
    writer.close()


def test_alone_on_a_machine_nobody_is_asked(sqlite_installation: Installation) -> None:
    with sqlite_installation.store.hold(NAME) as held, sqlite_installation.store.hold(NAME) as again:
        assert held and again


def test_without_a_server_nothing_is_held() -> None:
    store = Store("postgresql:///x?host=/nowhere")
    with pytest.raises(UnavailableError, match="cannot be asked"), store.hold(NAME):
        pass
    store.close()
