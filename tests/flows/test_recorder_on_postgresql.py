"""The policy server's recorder on PostgreSQL: silent while nothing can be committed, and right again afterwards."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evertunnel import clock
from evertunnel.actions.deny import deny
from evertunnel.model import SubjectKind
from evertunnel.servers.logins import Verdict
from evertunnel.servers.recorder import Recorder
from evertunnel.storage.copy import copy_storage
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import ALICE
from tests.peers import radius
from tests.peers.certificates import Credential
from tests.peers.installation import Installation
from tests.postgresql import Server, running
from tests.unit.servers.conftest import Scene


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that may be killed."""
    with running(durable=True) as server:
        yield server


@pytest.fixture
def scene(server: Server, tmp_path: Path) -> Iterator[Scene]:
    """A policy server whose installation was moved to PostgreSQL."""
    installation = Installation(tmp_path / "installation")
    secret = installation.add_gateway()
    installation.add_user()
    installation.add_device()
    installation.add_policy()
    alice: Credential = installation.issue()
    moved = Store(server.url(server.make_database()))
    copy_storage(installation.store, moved, on_progress=lambda *_progress: None)
    installation.close()
    installation.store = moved
    yield Scene(installation, secret, alice)
    installation.close()


def new_verdict(scene: Scene) -> Verdict:
    return scene.receive_verdict(scene.gateway.build_last_request(scene.new_client()))


def test_no_reply_while_the_server_is_gone_and_the_same_login_is_answered_after_it_came_back(
    scene: Scene, server: Server
) -> None:
    verdict = new_verdict(scene)
    (before,) = scene.commit(new_verdict(scene))
    server.kill()
    assert scene.commit(verdict) == []
    assert not scene.recorder.follow()
    server.start(max_connections="200")
    (reply,) = scene.commit(verdict)
    assert (before[0], reply[0]) == (radius.ACCEPT, radius.ACCEPT)
    time.sleep(0.6)  # it does not knock all the time
    assert scene.recorder.follow()
    assert len([row for row in scene.installation.list_attempts() if row.session_id]) == 2


def test_a_denial_on_one_node_refuses_what_another_had_already_decided(scene: Scene) -> None:
    verdicts = [new_verdict(scene) for _ in range(3)]
    # A second node: another pool of connections, another memory.
    other = Store(scene.installation.store.url)
    assert scene.commit(verdicts[0])[0][0] == radius.ACCEPT
    deny(other, SubjectKind.USER, ALICE, reason="left", actor="t", now=clock.now())
    assert [reply[0] for reply in scene.commit(*verdicts[1:])] == [radius.REJECT] * 2
    with other.read() as connection:
        assert verify_chain(connection).problems == []
    other.close()


def test_two_recorders_share_one_chain(scene: Scene) -> None:
    verdicts = [new_verdict(scene) for _ in range(10)]
    store = Store(scene.installation.store.url)
    other = Recorder(store, scene.decider, on_gateways_changed=lambda: None)
    for number, verdict in enumerate(verdicts):
        recorder = other if number % 2 else scene.recorder
        (reply,) = recorder.commit([verdict], clock.now())
        assert reply.data[0] == radius.ACCEPT
    store.close()
    with scene.installation.store.read() as connection:
        assert verify_chain(connection).problems == []
