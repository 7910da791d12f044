"""strongSwan's own listener for Disconnect- and CoA-Requests (RFC 5176), as another way to end and to shorten."""

import os
import signal
from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import select

from evertunnel.gateways.strongswan import USER_CONNECTION
from evertunnel.lab.charon import start_charon
from evertunnel.lab.lab import GATEWAY, USER, wait_for
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from tests.lab.conftest import Bench

GATEWAY_PROCESS = 5


def find_ends(bench: Bench) -> list[datetime | None]:
    store = Store(f"sqlite:///{bench.lab.state}/data/evertunnel.db")
    with store.read() as connection:
        rows = connection.execute(select(tables.sessions.c.ends_at).where(tables.sessions.c.state == "up")).all()
    store.close()
    return [row.ends_at for row in rows]


@pytest.fixture
def listening(bench: Bench) -> Iterator[Bench]:
    """The gateway's strongSwan, started again with the listener that its fragment tells it of."""
    bench.run("gateway", "change", GATEWAY, "--disconnect", "127.0.0.1")
    fragment = bench.lab.state / "gateways" / GATEWAY / "strongswan.conf"
    wait_for("the fragment", lambda: "dae {" in fragment.read_text())
    owner = fragment.stat().st_uid

    def restart() -> None:
        bench.lab.processes.stop("charon-gateway")
        wait_for("the state without it", lambda: bench.rows("gateway", "list")[0]["state"] != "connected")
        start_charon("gateway", bench.lab.network, bench.lab.processes, bench.lab.folder, include=fragment, owner=owner)
        wait_for("the state", lambda: bench.rows("gateway", "list")[0]["state"] == "connected")

    restart()
    yield bench
    bench.run("gateway", "change", GATEWAY, "--disconnect", "none")
    wait_for("the fragment", lambda: "dae {" not in fragment.read_text())
    restart()


def test_what_is_acknowledged_is_not_called_confirmed(listening: Bench) -> None:
    """The control socket is out of reach, so nobody here sees the tunnel go; strongSwan says that it went."""
    bench = listening
    connect = bench.connect()
    control = bench.lab.folder / "gateway.vici"
    owner = control.stat().st_uid
    os.chown(control, 0, -1)
    control.chmod(0o700)
    os.kill(bench.find_process(GATEWAY_PROCESS), signal.SIGKILL)  # it is started again, and finds no way in
    try:
        wait_for("the state", lambda: bench.rows("gateway", "list")[0]["state"] == "away")
        done = bench.run("deny", "user", USER, "--reason", "test", "--wait", "10", check=False)
        assert done.returncode == 1
        assert f"{GATEWAY}: acknowledged after" in done.stdout
        assert "NOT CONFIRMED" in done.stdout
        assert not bench.gateway_tunnels(USER_CONNECTION)
    finally:
        control.chmod(0o770)
        os.chown(control, owner, -1)
    wait_for("the confirmation", lambda: bench.rows("gateway", "list")[0]["pending_effects"] == 0)
    connect.wait(timeout=20)
    connect.communicate()


def test_a_policy_that_became_shorter_shortens_the_session_there(listening: Bench) -> None:
    # Longer than half an hour: of a shorter life strongSwan as a client begins another tunnel at once.
    bench = listening
    policy = ("policy", "network", "add", "--grant", "--tunnel", "user", "--position", "1")
    bench.run(*policy, "Two hours", "--session-timeout", "7200")
    connect = bench.connect()
    try:
        wait_for("the end that the policy gives", lambda: find_ends(bench) not in ([], [None]))
        (before,) = find_ends(bench)
        bench.run(*policy, "One hour", "--session-timeout", "3600")
        log = bench.lab.folder / "serve.log"
        wait_for("the answer", lambda: any("session shortened" in line and '"said":"acknowledged"' in line
                                           for line in log.read_text().splitlines()))  # fmt: skip
        (after,) = find_ends(bench)
        assert before is not None
        assert after is not None
        assert (before - after).total_seconds() == pytest.approx(3600, abs=2)
        assert bench.gateway_tunnels(USER_CONNECTION)
    finally:
        for name in ("Two hours", "One hour"):
            bench.run("policy", "network", "remove", name, check=False)
        bench.disconnect(connect)
