"""A gateway on another host: denial there and here, cut off, its agent and the server killed, and sent away."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from evertunnel import clock
from evertunnel.errors import UnavailableError
from evertunnel.gateways.strongswan import DEVICE_CONNECTION, USER_CONNECTION
from evertunnel.lab.lab import DEVICE, SECOND_GATEWAY, USER, Lab, is_loaded, wait_for
from evertunnel.lab.network import CORP_INFRASTRUCTURE_ADDRESS, MANAGE_LINK
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.vici_connection import ViciConnection
from tests.lab.conftest import Bench

TUNNEL = "second-device-tunnel"


@pytest.fixture(scope="module", autouse=True)
def _second(lab: Lab) -> Iterator[None]:
    lab.add_second_gateway(lambda _text: None)
    yield
    lab.run("gateway", "remove", SECOND_GATEWAY, check=False)
    lab.processes.stop("agent")
    lab.processes.stop("charon-gateway2")


@pytest.fixture(autouse=True)
def _clean(bench: Bench) -> Iterator[None]:
    wait_connected(bench)
    yield
    bench.allow_everybody()
    bench.lab.take_down_device_tunnel(name=TUNNEL)
    bench.forget_credentials()


def find_gateway(bench: Bench) -> dict[str, Any]:
    return next(row for row in bench.rows("gateway", "list") if row["name"] == SECOND_GATEWAY)


def wait_connected(bench: Bench) -> None:
    wait_for("the second gateway", lambda: find_gateway(bench)["state"] == "connected", seconds=20)


def list_there(bench: Bench, connection: str) -> list[dict[str, Any]]:
    """What the second gateway's strongSwan lists itself."""
    vici = ViciConnection(str(bench.lab.second_vici))
    try:
        return [tunnel for tunnel in vici.list_tunnels() if tunnel["name"] == connection]
    finally:
        vici.close()


def come_up(bench: Bench) -> dict[str, Any]:
    """A device tunnel over the second gateway; returns its session."""
    bench.lab.bring_up_device_tunnel(name=TUNNEL, second=True)
    found: list[dict[str, Any]] = []

    def is_joined() -> bool:
        found[:] = [row for row in bench.sessions("device") if row["gateway"] == SECOND_GATEWAY]
        return bool(found)

    wait_for("the session", is_joined)
    return found[0]


def wait_refused(lab: Lab) -> None:
    """Nobody vouches for the device any more, once an answer that came before has lived its three seconds.

    Whom that lets in still waits for the RADIUS server to count him, thirteen seconds, and then goes.
    """

    def is_refused() -> bool:
        try:
            lab.try_another_device_tunnel()
        except UnavailableError:
            return True
        return False

    wait_for("the refusal", is_refused, seconds=30)


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def find_agent(lab: Lab) -> int:
    """What was started is `ip netns exec`, which becomes `setpriv`, `env` and then ours."""
    pid = lab.processes.find("agent")
    assert pid is not None
    return pid


def stop_serving(lab: Lab) -> None:
    """The whole server, at once."""
    serve = lab.processes.find("serve")
    assert serve is not None
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    children = [int(line.split()[0]) for line in listed.splitlines()[1:] if int(line.split()[1]) == serve]
    for pid in (serve, *children):
        os.kill(pid, signal.SIGKILL)
    wait_for("the end of the server", lambda: lab.processes.find("serve") is None)


def find_last_reason(bench: Bench, gateway: str) -> str:
    """Of one gateway: at the other, a login of an earlier test that fell silent may be recorded at any time."""
    return next((str(row["reason"]) for row in bench.attempts() if row["gateway"] == gateway), "")


def test_a_denial_is_confirmed_on_both_gateways(bench: Bench) -> None:
    come_up(bench)
    connect = bench.connect()
    denial = json.loads(bench.run("deny", "device", DEVICE, "--reason", "test", "--json").stdout)
    assert {row["gateway"]: row["state"] for row in denial["gateways"]} == {"gw1": "confirmed", "gw2": "confirmed"}
    assert all(row["milliseconds"] < 1000 for row in denial["gateways"])
    assert not list_there(bench, DEVICE_CONNECTION)
    assert not bench.gateway_tunnels(USER_CONNECTION)
    with pytest.raises(UnavailableError):
        bench.lab.bring_up_device_tunnel(name=TUNNEL, second=True)
    wait_for("the record", lambda: find_last_reason(bench, SECOND_GATEWAY) == "device_denied")
    connect.wait(timeout=20)
    connect.communicate()


def test_a_user_comes_in_over_it_with_a_secret_of_its_own_and_a_new_one_takes_its_place(bench: Bench) -> None:
    fragment = bench.lab.second_fragment
    before = fragment.read_text()
    bench.run("gateway", "change", SECOND_GATEWAY, "--rotate")
    wait_for("the new secret", lambda: fragment.read_text() != before)
    connect = bench.connect(second=True)
    assert list_there(bench, USER_CONNECTION)
    assert bench.sessions("user")[0]["gateway"] == SECOND_GATEWAY
    bench.run("device", "report", DEVICE, "--not-compliant")
    wait_for("the end of the tunnel", lambda: not list_there(bench, USER_CONNECTION), seconds=3)
    connect.wait(timeout=20)
    connect.communicate()


def test_cut_off_it_is_reported_refuses_and_confirms_by_itself_when_it_is_back(bench: Bench) -> None:
    come_up(bench)
    bench.lab.try_another_device_tunnel()  # as long as somebody vouches for the device
    log = bench.lab.agent_folder.parent / "gateway2.charon.log"
    bench.lab.network.set_link("gateway2", MANAGE_LINK, up=False)
    try:
        done = bench.run("deny", "user", USER, "--reason", "test", "--wait", "0.5", check=False)
        assert done.returncode == 1
        assert "gw1: confirmed after" in done.stdout
        assert f"{SECOND_GATEWAY}: NOT CONFIRMED" in done.stdout
        wait_for("the state", lambda: find_gateway(bench)["state"] == "away")
        said = len(log.read_text())
        wait_refused(bench.lab)
        assert "ocsp request to" in log.read_text()[said:]
        assert "RULE_CRL_VALIDATION" in log.read_text()[said:]
        assert list_there(bench, DEVICE_CONNECTION), "what was granted before goes on"
    finally:
        bench.lab.network.set_link("gateway2", MANAGE_LINK, up=True)
    wait_for("the confirmation", lambda: find_gateway(bench)["pending_effects"] == 0)
    wait_connected(bench)


def test_agent_and_strongswan_start_again_while_the_server_is_dead_and_nothing_is_lost(bench: Bench) -> None:
    session = come_up(bench)
    stop_serving(bench.lab)
    kill(find_agent(bench.lab))
    bench.lab.start_agent()
    address = bench.lab.find_address(TUNNEL)
    assert address is not None
    assert bench.lab.fetch(CORP_INFRASTRUCTURE_ADDRESS, address) == bench.lab.page
    wait_refused(bench.lab)
    bench.lab.start_server()
    wait_connected(bench)
    assert [row["id"] for row in bench.sessions("device")] == [session["id"]]
    stop_serving(bench.lab)
    bench.lab.processes.stop("charon-gateway2")
    bench.lab.start_second_charon()
    wait_for("what the agent kept", lambda: is_loaded(bench.lab.second_vici))
    bench.lab.start_server()
    wait_connected(bench)
    wait_for("the end of the session", lambda: not bench.sessions("device"))


def test_an_end_that_was_given_comes_although_the_server_is_dead_and_the_agent_was_killed(bench: Bench) -> None:
    """What the server gave is an hour away; the test brings the kept moment nearer instead of waiting for it."""
    session = come_up(bench)
    store = Store(f"sqlite:///{bench.lab.state}/data/evertunnel.db")
    with store.write(clock.now()) as tx:
        row = tables.sessions.c.id == session["id"]
        ends_at = clock.now() + timedelta(hours=1)
        tx.connection.execute(update(tables.sessions).where(row).values(ends_at=ends_at))
    store.close()
    kept = bench.lab.agent_folder / "deadlines.json"
    wait_for("the agent to know", lambda: kept.exists() and len(json.loads(kept.read_text())) == 1)
    stop_serving(bench.lab)
    kill(find_agent(bench.lab))
    wait_for("its end", lambda: bench.lab.processes.find("agent") is None)
    [(spis, (number, moment))] = json.loads(kept.read_text()).items()
    assert abs(moment - ends_at.timestamp()) < 2
    assert list_there(bench, DEVICE_CONNECTION)
    kept.write_text(json.dumps({spis: [number, clock.now().timestamp()]}))
    bench.lab.start_agent()
    wait_for("the end", lambda: not list_there(bench, DEVICE_CONNECTION))
    bench.lab.start_server()


def test_an_agent_whose_certificate_is_revoked_is_dismissed_and_one_with_a_new_code_is_not(bench: Bench) -> None:
    come_up(bench)
    certificate = next(row for row in bench.rows("certificate", "list") if row["kind"] == "agent")
    bench.run("certificate", "revoke", certificate["id"])
    wait_for("the end of its tunnels", lambda: not list_there(bench, DEVICE_CONNECTION))
    wait_for("its end", lambda: bench.lab.processes.find("agent") is None)
    assert not is_loaded(bench.lab.second_vici)
    assert not bench.lab.second_fragment.exists()
    code = bench.run("gateway", "code", SECOND_GATEWAY).stdout.split()[-1]
    assert bench.lab.run_agent("enrol", given=code).returncode == 0
    again = bench.lab.run_agent("enrol", given=code)
    assert again.returncode == 1
    assert "was used already" in again.stderr and again.stderr.count("\n") == 1
    bench.lab.start_agent()
    wait_connected(bench)
    come_up(bench)


def test_a_gateway_that_is_removed_ends_its_tunnels_and_is_forgotten(bench: Bench) -> None:
    """The last one: there is no second gateway after it."""
    come_up(bench)
    unused = bench.run("gateway", "code", SECOND_GATEWAY).stdout.split()[-1]
    bench.run("gateway", "remove", SECOND_GATEWAY)
    wait_for("the end of its tunnels", lambda: not list_there(bench, DEVICE_CONNECTION))
    wait_for("the agent's end", lambda: bench.lab.processes.find("agent") is None)
    assert not is_loaded(bench.lab.second_vici)
    refused = bench.lab.run_agent("enrol", given=unused)
    assert refused.returncode == 1
    assert f"gateway {SECOND_GATEWAY} was removed" in refused.stderr
