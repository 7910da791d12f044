"""The thread that keeps one gateway: nothing that comes from outside may keep it from its work, or end it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.follow_tunnel import open_device_session
from evertunnel.errors import InvalidInputError
from evertunnel.gateways.local_gateway import LocalGateway, _report
from evertunnel.gateways.strongswan import DEVICE_CONNECTION, GatewayModel
from evertunnel.gateways.tunnels import read_tunnel
from evertunnel.model import Gateway
from evertunnel.storage import tables
from tests.installation import LAPTOP, Installation

LINE = ("log", {"group": "IKE", "ikesa-uniqueid": "1", "msg": "received packet"})


def fail_to_load() -> tuple[GatewayModel, str]:
    raise InvalidInputError("the signer refused")


@pytest.fixture
def gateway(installation: Installation, tmp_path: Path) -> Iterator[LocalGateway]:
    """One whose strongSwan is not there."""
    gateway = LocalGateway(
        installation.store,
        Gateway("g1", "gw1", "127.0.0.1", enabled=True),
        str(tmp_path / "nothing.vici"),
        load_model=fail_to_load,
        clock=installation.clock,
    )
    yield gateway
    if gateway._threads[1].is_alive():
        gateway.stop()


def test_a_flood_of_events_lets_other_work_be_done(gateway: LocalGateway) -> None:
    for _ in range(1000):
        gateway._events.put(LINE)
    rounds = 0
    while not gateway._events.empty():
        gateway._handle_events()
        rounds += 1
    assert rounds == 5


@pytest.mark.parametrize("event", [None, ("ike-rekey", {"evertunnel-user": {}})], ids=["loading", "an odd event"])
def test_its_thread_goes_on_after_whatever_fails(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch, event: tuple[str, dict[str, dict[str, str]]] | None
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    gateway._events.put(event)
    gateway._threads[1].start()
    time.sleep(0.3)
    assert gateway._threads[1].is_alive()


def test_a_device_tunnel_that_was_seen_before_its_report_is_recorded_once(
    installation: Installation, gateway: LocalGateway
) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    gateway_id = installation.add_gateway()
    certificate_id = installation.issue_device(installation.add_device())
    installation.refresh()
    found = installation.decider.find_gateway(gateway_id)
    assert found is not None
    gateway._gateway = found
    section = {
        "uniqueid": "7", "state": "ESTABLISHED", "initiator-spi": "a", "responder-spi": "b",
        "remote-id": f"CN={LAPTOP}, serialNumber={certificate_id}",
    }  # fmt: skip
    report = _report(read_tunnel(DEVICE_CONNECTION, section))
    with installation.store.write(installation.now) as tx:
        assert open_device_session(tx, installation.decider, found, report).granted
    gateway._handle("ike-updown", {"up": "yes", DEVICE_CONNECTION: section})
    with installation.store.read() as connection:
        assert len(connection.execute(select(tables.sessions)).all()) == 1
        assert len(connection.execute(select(tables.attempts)).all()) == 1
