"""strongSwan ends a device tunnel by itself when its time is over, whoever of us is alive (docs/decisions/0015)."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import vici as vici_package
from sqlalchemy import update

from evertunnel import clock
from evertunnel.connector import tunnel as tunnel_module
from evertunnel.gateways.strongswan import DEVICE_CONNECTION
from evertunnel.lab.charon import start_charon
from evertunnel.lab.lab import DEVICE_TUNNEL, GATEWAY, Lab, is_loaded, wait_for
from evertunnel.storage import tables
from evertunnel.storage.gateways import get_gateway
from evertunnel.storage.snapshot import GATEWAY as GATEWAY_CHANGED
from evertunnel.storage.store import Store
from tests.lab.conftest import Bench, halted

LIFETIME_SECONDS = 12


@contextmanager
def device_lifetime(bench: Bench, seconds: int) -> Iterator[None]:
    """The gateway's device tunnels last so long; no option makes it as short as a test wants it."""
    store = Store(f"sqlite:///{bench.lab.state}/data/evertunnel.db")

    def change(settings: dict[str, object]) -> None:
        with store.write(clock.now()) as tx:
            row = tables.gateways.c.id == gateway.id
            tx.connection.execute(update(tables.gateways).where(row).values(settings=settings))
            tx.raise_epoch(GATEWAY_CHANGED, gateway.id)
        wanted = int(settings["device_lifetime_seconds"])  # type: ignore[call-overload]
        deleted_after = wanted - min(60, wanted // 8)
        wait_for("the lifetime", lambda: find_reauth_time(bench) == deleted_after - min(60, wanted // 4))

    with store.read() as connection:
        gateway = get_gateway(connection, GATEWAY)
    try:
        change(gateway.settings | {"device_lifetime_seconds": seconds})
        yield
    finally:
        change(gateway.settings)
        store.close()


def find_reauth_time(bench: Bench) -> int:
    """What strongSwan itself says of the device connection."""
    vici = bench.gateway()
    try:
        return int(vici.list_loaded()["connection"][DEVICE_CONNECTION]["reauth_time"])
    finally:
        vici.close()


@pytest.fixture(scope="module", autouse=True)
def _quick_to_give_up(lab: Lab) -> Iterator[None]:
    """A client that does not answer is given up after half a second: the tests need not wait for 48."""

    def restart(more: str) -> None:
        lab.processes.stop("charon-gateway")
        fragment = lab.state / "gateways" / GATEWAY / "strongswan.conf"
        owner = fragment.stat().st_uid
        start_charon("gateway", lab.network, lab.processes, lab.folder, include=fragment, owner=owner, more=more)
        wait_for("the gateway's connections", lambda: is_loaded(lab.folder / "gateway.vici"))

    restart("charon {\n  retransmit_timeout = 0.2\n  retransmit_tries = 1\n}\n")
    yield
    restart("")


def test_a_tunnel_ends_at_its_time_although_it_was_rekeyed_and_we_and_the_client_do_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our process is halted, so nobody of us ends it; so is the client, so it neither begins anew nor ends it."""
    build = tunnel_module._build_connection
    # strongSwan as a client begins anew `over_time` before the end it is told (RFC 4478), 24 minutes by default: of a
    # shorter life it makes one login after the other.
    monkeypatch.setattr(tunnel_module, "_build_connection", lambda plan: build(plan) | {"over_time": "1s"})
    plan = replace(bench.device_plan(), name=DEVICE_TUNNEL)
    laptop = bench.lab.processes.find("charon-laptop")
    assert laptop is not None
    with device_lifetime(bench, LIFETIME_SECONDS):
        began = time.monotonic()
        bench.up(plan)
        (tunnel,) = bench.gateway_tunnels(DEVICE_CONNECTION)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(bench.lab.laptop_vici))
            vici_package.Session(connection).rekey({"ike": plan.name})
        wait_for("the rekey", lambda: tunnel["uniqueid"] not in list_numbers(bench) and len(list_numbers(bench)))
        with halted(bench.find_process(5), laptop):
            assert list_numbers(bench)
            wait_for("the end", lambda: not list_numbers(bench), seconds=LIFETIME_SECONDS + 3)
            assert LIFETIME_SECONDS - 2 < time.monotonic() - began < LIFETIME_SECONDS + 3
    wait_for("the end of the session", lambda: not bench.sessions("device"))
    bench.forget_credentials()


def list_numbers(bench: Bench) -> list[str]:
    return [str(tunnel["uniqueid"]) for tunnel in bench.gateway_tunnels(DEVICE_CONNECTION)]
