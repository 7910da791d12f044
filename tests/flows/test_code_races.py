"""The same code of an authenticator app, brought to several nodes at once: one sign-in passes."""

import threading
from dataclasses import replace

import pytest

from evertunnel.actions.decide import Decider
from evertunnel.errors import AccessDeniedError
from evertunnel.storage.attempts import list_attempts
from evertunnel.storage.store import Store
from tests.installation import Installation
from tests.unit.actions.apps import App
from tests.unit.actions.enrolling import Ready, make_ready
from tests.unit.pki.samples import make_key

NODES = 4  # as many failures as are not yet too many


@pytest.mark.parametrize("_round", range(3))
def test_of_the_same_code_at_once_one_passes(installation: Installation, _round: int) -> None:
    ready = make_ready(installation, make_key("p256", "device"))
    code = App(installation).show()
    stores = [Store(installation.store.url) for _ in range(NODES)]
    together = threading.Barrier(NODES)
    outcomes: list[str] = []

    def sign_in(node: Ready) -> None:
        request = node.ask(code=code)
        together.wait(timeout=30)
        try:
            node.issue(request)
        except AccessDeniedError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("granted")

    nodes = [replace(ready, installation=replace(installation, store=store, decider=Decider())) for store in stores]
    threads = [threading.Thread(target=sign_in, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = "the password is right, the code was used before or is older than one that was"
    assert sorted(outcomes) == ["granted", *[used] * (NODES - 1)]
    with installation.store.read() as connection:
        recorded = [row.outcome for row in list_attempts(connection, limit=100)]
    assert sorted(recorded) == ["granted", *["refused"] * (NODES - 1)]
    for store in stores:
        store.close()
