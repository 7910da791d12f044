"""Clients as they come: Windows' recommended suites, a stock strongSwan, rekeys, restarts of ours."""

import socket
import threading
import time
from contextlib import closing
from typing import Any

import pytest
import vici as vici_package

from evertunnel.connector.tunnel import find_tunnels, take_down
from evertunnel.gateways.strongswan import DEVICE_CONNECTION
from evertunnel.lab.lab import DEVICE, USER_TUNNEL, wait_for
from evertunnel.lab.network import CORP_INTRANET_ADDRESS
from tests.lab.conftest import Bench

# What Windows proposes with the suites administrators set (reference: client profiles 7.7); it sends exactly one.
WINDOWS_SUITES = {
    "baseline": ("aes128gcm16-prfsha256-modp2048", "aes128gcm16-ecp256"),
    "gcm-256": ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384"),
    "classic": ("aes128-sha256-modp2048", "aes128-sha256-modp2048"),
    "cbc-256": ("aes256-sha256-modp2048", "aes256-sha256-modp2048"),
    "no-pfs": ("aes256gcm16-prfsha384-ecp384", "aes256gcm16"),
}


def rekey(bench: Bench, **what: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(bench.lab.laptop_vici))
        vici_package.Session(connection).rekey(what)


@pytest.mark.parametrize("suite", WINDOWS_SUITES)
def test_windows_suites_come_up_and_the_client_rekeys_the_child(bench: Bench, suite: str) -> None:
    ike, esp = WINDOWS_SUITES[suite]
    plan = bench.device_plan(ike_proposals=[ike], esp_proposals=[esp])
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    (before,) = bench.gateway_tunnels(DEVICE_CONNECTION)
    rekey(bench, child="net")

    def rekeyed() -> bool:
        (tunnel,) = bench.gateway_tunnels(DEVICE_CONNECTION)
        installed = {child["uniqueid"] for child in tunnel["child-sas"].values() if child["state"] == "INSTALLED"}
        return bool(installed - {child["uniqueid"] for child in before["child-sas"].values()})

    wait_for("the new child", rekeyed)
    bench.down(plan, "device")


def test_a_client_that_leaves_amid_a_rekey_says_so(bench: Bench) -> None:
    """strongSwan told to end a tunnel at once says nothing to the gateway while it waits for another answer."""
    plan = bench.device_plan()
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    with bench.charon_halted("gateway"):
        rekey(bench, child="net")
        leaving = threading.Thread(target=bench.down, args=(plan, "device"))
        leaving.start()
        time.sleep(0.3)
    leaving.join(20)
    assert not bench.gateway_tunnels(DEVICE_CONNECTION)


def test_a_client_leaves_though_the_gateway_is_silent(bench: Bench) -> None:
    plan = bench.device_plan()
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    with closing(bench.laptop()) as vici, bench.charon_halted("gateway"):
        began = time.monotonic()
        take_down(vici, plan.name)
        assert time.monotonic() - began < 4
        assert not find_tunnels(vici, plan.name)
    bench.forget_credentials()


def test_a_stock_strongswan_comes_up_with_its_default_proposals(bench: Bench) -> None:
    plan = bench.device_plan(ike_proposals=["default"], esp_proposals=["default"])
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    bench.down(plan, "device")


def test_weak_proposals_are_refused(bench: Bench) -> None:
    """Windows without a suite set offers modp1024 only."""
    plan = bench.device_plan(ike_proposals=["aes256-sha1-modp1024"], esp_proposals=["aes256-sha1"])
    bench.refused(plan)


def test_a_session_is_followed_through_a_rekey_and_can_still_be_cut(bench: Bench) -> None:
    plan = bench.device_plan()
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    (session,) = bench.sessions("device")
    (before,) = bench.gateway_tunnels(DEVICE_CONNECTION)
    rekey(bench, ike=plan.name)
    wait_for(
        "the new number",
        lambda: [t["uniqueid"] for t in bench.gateway_tunnels(DEVICE_CONNECTION)] not in ([before["uniqueid"]], []),
    )
    assert [row["id"] for row in bench.sessions("device")] == [session["id"]]
    bench.run("deny", "device", DEVICE, "--reason", "test")
    assert not bench.gateway_tunnels(DEVICE_CONNECTION)
    bench.forget_credentials()


def test_tunnels_outlive_a_restart_of_ours_and_keep_their_session(bench: Bench) -> None:
    plan = bench.device_plan()
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    (session,) = bench.sessions("device")
    bench.lab.processes.stop("serve")
    assert bench.gateway_tunnels(DEVICE_CONNECTION)
    bench.lab.start_server()
    wait_for("the look after the restart", lambda: bench.sessions("device")[0]["seen_at"] != session["seen_at"])
    assert [row["id"] for row in bench.sessions("device")] == [session["id"]]
    bench.down(plan, "device")


def test_a_device_denied_while_we_were_down_is_cut_when_we_are_back(bench: Bench) -> None:
    """Nobody can deny while nothing serves; but a database that was changed by another node can."""
    plan = bench.device_plan()
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    bench.lab.processes.stop("serve")
    bench.deny_in_database(DEVICE)
    bench.lab.start_server()
    wait_for("the cut", lambda: not bench.gateway_tunnels(DEVICE_CONNECTION))
    bench.forget_credentials()


def test_what_goes_through_a_tunnel_is_counted_while_it_is_up_and_to_its_end(bench: Bench) -> None:
    connect = bench.connect()
    address = bench.lab.find_address(USER_TUNNEL) or ""
    assert bench.lab.fetch(CORP_INTRANET_ADDRESS, address) == bench.lab.page
    size = int(bench.lab.page.split()[0])
    took = wait_for("the octets", lambda: bench.sessions("user")[0]["bytes_out"] > size, seconds=5)
    assert took < 4
    once = bench.sessions("user")[0]
    rekey(bench, ike=USER_TUNNEL, child="net")
    assert bench.lab.fetch(CORP_INTRANET_ADDRESS, address) == bench.lab.page
    bench.disconnect(connect)
    wait_for("the last octets", lambda: find_past(bench, once["id"])["bytes_out"] > 2 * size, seconds=2)
    assert find_past(bench, once["id"])["bytes_in"] > once["bytes_in"]


def find_past(bench: Bench, session_id: str) -> dict[str, Any]:
    return next(row for row in bench.rows("session", "list", "--past") if row["id"] == session_id)
