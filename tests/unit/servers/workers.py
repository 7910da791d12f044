"""Several workers in this process on one installation, each with a memory and connections of its own."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from evertunnel import clock
from evertunnel.protocols.radius.packet import decode_access_request
from evertunnel.servers.logins import Elsewhere, Reply, Verdict
from evertunnel.servers.workers import Place
from evertunnel.storage.store import Store
from tests.peers.gateway import Gateway
from tests.unit.servers.conftest import SOURCE, Scene


class Workers:
    """Packets go to any of them and are handed over once, if they have to be."""

    def __init__(self, scenes: list[Scene]) -> None:
        self.scenes = scenes
        self.handed_over = 0

    def receive(self, data: bytes, source: tuple[str, int] = SOURCE, *, at: int) -> tuple[int, Reply | Verdict | None]:
        """The worker that took a datagram which came to worker `at`, and what it made of it."""
        outcome = self.scenes[at].receive(data, source)
        if isinstance(outcome, Elsewhere):
            self.handed_over += 1
            at = outcome.worker
            outcome = self.scenes[at].receive(data, source)
            assert not isinstance(outcome, Elsewhere), "handed over twice"
        return at, outcome

    def carry(self, data: bytes, source: tuple[str, int] = SOURCE, *, at: int) -> bytes | None:
        """The same to its reply, recorded if it has to be."""
        worker, outcome = self.receive(data, source, at=at)
        if isinstance(outcome, Verdict):
            replies = self.scenes[worker].recorder.commit([outcome], clock.now())
            outcome = replies[0] if replies else None
        return outcome.data if outcome is not None else None

    def new_gateway(self, *, at: int | None = None) -> Gateway:
        """A gateway all whose packets come to one worker, or always to one that does not answer them."""
        return Gateway(
            self.scenes[0].secret, lambda data: self.carry(data, at=self.find_stranger(data) if at is None else at)
        )

    def find_stranger(self, data: bytes) -> int:
        """A worker that has to hand a datagram over."""
        request = decode_access_request(data, self.scenes[0].secret)
        owner = Place(0, len(self.scenes)).find_owner(request.authenticator, request.state, awake=len(self.scenes))
        return next(at for at in range(len(self.scenes)) if at != owner)


@contextmanager
def open_workers(scene: Scene, count: int = 2) -> Iterator[Workers]:
    """Workers on the installation of a scene."""
    stores = [Store(f"sqlite:///{scene.installation.database}") for _ in range(count)]
    scenes = []
    for number, store in enumerate(stores):
        installation = copy.copy(scene.installation)
        installation.store = store
        scenes.append(Scene(installation, scene.secret, scene.alice, Place(number, count)))
    try:
        yield Workers(scenes)
    finally:
        for store in stores:
            store.close()
