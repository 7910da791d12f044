"""Denial: the live tunnel goes, whatever the client does, and only what the gateway showed counts as confirmed."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from evertunnel.gateways.strongswan import DEVICE_CONNECTION, USER_CONNECTION
from evertunnel.lab.charon import start_charon
from evertunnel.lab.lab import DEVICE, GATEWAY, PASSWORD, PUBLIC_NAME, USER, USER_TUNNEL, wait_for
from evertunnel.lab.network import CORP_INTRANET_ADDRESS, GATEWAY_ADDRESS, USER_NETWORK
from tests.lab.conftest import Bench


def test_a_denied_users_tunnel_is_cut_within_a_second_and_the_page_is_gone(bench: Bench) -> None:
    connect = bench.connect()
    address = bench.lab.find_address(USER_TUNNEL) or ""
    assert bench.lab.fetch(CORP_INTRANET_ADDRESS, address) == bench.lab.page
    denial = json.loads(bench.run("deny", "user", USER, "--reason", "test", "--json").stdout)
    assert [row["state"] for row in denial["gateways"]] == ["confirmed"]
    assert denial["gateways"][0]["milliseconds"] < 1000
    assert connect.wait(timeout=10) == 4
    assert "cannot be reached" in bench.lab.fetch(CORP_INTRANET_ADDRESS, address)
    connect.communicate()


def test_a_session_that_is_ended_loses_its_tunnel_and_nobody_is_denied(bench: Bench, tmp_path: Path) -> None:
    bench.up(bench.device_plan())
    wait_for("the session", lambda: bool(bench.sessions("device")))
    connect = bench.connect()
    with packets_through(bench, tmp_path / "arrivals") as arrivals:
        (session,) = bench.sessions("user")
        ended = json.loads(bench.run("session", "end", session["id"], "--json").stdout)
        confirmed_at = time.time()  # noqa: TID251  beside the arrivals of packets
        assert connect.wait(timeout=10) == 4
        (last,) = struct.unpack("d", arrivals.read_bytes()[-8:])
    assert [(row["session"], row["state"]) for row in ended["sessions"]] == [(session["id"], "confirmed")]
    assert last < confirmed_at + 1
    row = next(row for row in bench.rows("session", "list", "--past") if row["id"] == session["id"])
    assert (row["state"], row["end"]) == ("ended", "ended here by an administrator")
    assert bench.sessions("device"), "nobody ended that one"
    again = bench.run("session", "end", session["id"], check=False)
    assert (again.returncode, "ended already" in again.stderr) == (1, True)
    connect.communicate()
    connect = bench.connect()
    assert bench.run("session", "end", "--device", DEVICE).stdout.count("confirmed after") == 2
    assert not bench.gateway_tunnels(DEVICE_CONNECTION) and not bench.gateway_tunnels(USER_CONNECTION)
    connect.wait(timeout=20)
    connect.communicate()
    bench.forget_credentials()


@contextmanager
def packets_through(bench: Bench, arrivals: Path) -> Iterator[Path]:
    """A packet a millisecond from the laptop to the corporate host, which notes when each came."""
    traffic = (sys.executable, "-m", "bench.traffic")
    address = bench.lab.find_address(USER_TUNNEL) or ""
    receive = (*traffic, "receive", CORP_INTRANET_ADDRESS, "7007", str(arrivals))
    send = (*traffic, "send", CORP_INTRANET_ADDRESS, "7007", address)
    with ExitStack() as stack:
        for host, command in (("corp", receive), ("laptop", send)):
            process = stack.enter_context(subprocess.Popen(bench.lab.network.wrap(host, *command)))
            stack.callback(process.kill)
        wait_for("packets through the tunnel", lambda: arrivals.exists() and arrivals.stat().st_size > 100 * 8)
        yield arrivals


def test_a_client_that_never_answers_a_delete_is_cut_all_the_same(bench: Bench) -> None:
    connect = bench.connect()
    with bench.charon_halted("laptop"):
        denial = json.loads(bench.run("deny", "user", USER, "--reason", "test", "--json").stdout)
        assert [row["state"] for row in denial["gateways"]] == ["confirmed"]
        assert not bench.gateway_tunnels(USER_CONNECTION)
        assert not bench.sessions("user")
    connect.wait(timeout=30)
    connect.communicate()


def test_a_device_denied_loses_its_device_tunnel_and_the_users_tunnel_on_it(bench: Bench) -> None:
    bench.up(bench.device_plan())
    wait_for("the session", lambda: bool(bench.sessions("device")))
    connect = bench.connect()
    assert bench.run("deny", "device", DEVICE, "--reason", "test").returncode == 0
    assert not bench.gateway_tunnels(DEVICE_CONNECTION)
    wait_for("the end of the user tunnel", lambda: not bench.gateway_tunnels(USER_CONNECTION))
    assert not bench.rows("session", "list")
    connect.wait(timeout=20)
    connect.communicate()
    bench.forget_credentials()


def test_losing_compliance_ends_the_user_tunnel_within_a_second_and_leaves_the_device_tunnel(bench: Bench) -> None:
    bench.up(bench.device_plan())
    wait_for("the session", lambda: bool(bench.sessions("device")))
    connect = bench.connect()
    bench.run("device", "report", DEVICE, "--not-compliant")
    assert wait_for("the cut", lambda: not bench.gateway_tunnels(USER_CONNECTION)) < 1
    wait_for("the end of the session", lambda: not bench.sessions("user"))
    assert bench.sessions("device")
    ended = next(row for row in bench.rows("session", "list", "--past") if row["kind"] == "user")
    assert ended["end_reason"] == "device_not_compliant"
    connect.wait(timeout=20)
    connect.communicate()
    refused = bench.lab.start_connect()
    assert "Access was refused" in refused.communicate(timeout=30)[1]
    assert (refused.returncode, bench.attempts()[0]["reason"]) == (1, "device_not_compliant")
    bench.run("device", "report", DEVICE, "--compliant")
    bench.disconnect(bench.connect())
    bench.down(bench.device_plan(), "device")


def test_a_fact_that_grows_too_old_ends_the_tunnel_without_anybody_saying_so(bench: Bench) -> None:
    connect = bench.connect()
    bench.run("device", "report", DEVICE, "--compliant", "--life-hours", str(2 / 3600))
    wait_for("the end of the user tunnel", lambda: not bench.sessions("user"), seconds=12)
    ended = next(row for row in bench.rows("session", "list", "--past") if row["kind"] == "user")
    assert ended["end_reason"] == "device_not_compliant"
    connect.wait(timeout=20)
    connect.communicate()


def test_a_user_taken_out_of_the_group_or_disabled_loses_the_tunnel(bench: Bench) -> None:
    for take, give in (
        (("group", "leave", "VPN Users", "--user", USER), ("group", "join", "VPN Users", "--user", USER)),
        (("user", "change", USER, "--disable"), ("user", "change", USER, "--enable")),
        (
            ("policy", "network", "switch", "User tunnel", "--off"),
            ("policy", "network", "switch", "User tunnel", "--on"),
        ),
    ):
        connect = bench.connect()
        bench.run(*take)
        wait_for("the end of the user tunnel", lambda: not bench.sessions("user"), seconds=2)
        bench.run(*give)
        connect.wait(timeout=20)
        connect.communicate()


def test_a_gateway_that_is_down_is_reported_and_confirms_by_itself_when_it_is_back(bench: Bench) -> None:
    bench.lab.processes.stop("charon-gateway")
    done = bench.run("deny", "user", USER, "--reason", "test", "--wait", "1", check=False)
    assert done.returncode == 1
    assert f"{GATEWAY}: NOT CONFIRMED after" in done.stdout
    assert " 0 tries" not in done.stdout
    assert "strongSwan at" in done.stdout
    wait_for("the state", lambda: bench.rows("gateway", "list")[0]["state"] == "away")
    assert "strongSwan at" in bench.run("gateway", "list").stdout
    said = (bench.lab.folder / "serve.log").read_text().count("gateway is away")
    time.sleep(2)
    assert (bench.lab.folder / "serve.log").read_text().count("gateway is away") == said
    fragment = bench.lab.state / "gateways" / GATEWAY / "strongswan.conf"
    owner = fragment.stat().st_uid
    start_charon("gateway", bench.lab.network, bench.lab.processes, bench.lab.folder, include=fragment, owner=owner)
    wait_for("the confirmation", lambda: bench.rows("gateway", "list")[0]["pending_effects"] == 0)
    wait_for("the state", lambda: bench.rows("gateway", "list")[0]["state"] == "connected")
    bench.run("allow", "user", USER)
    connect = bench.connect()
    bench.disconnect(connect)


def test_a_strongswan_that_says_nothing_is_counted_as_tried_and_named(bench: Bench) -> None:
    with bench.charon_halted("gateway"):
        done = bench.run("deny", "user", USER, "--reason", "test", "--wait", "8", check=False)
        assert done.returncode == 1
        assert " 0 tries" not in done.stdout
        assert "does not answer" in done.stdout
        wait_for("the state", lambda: bench.rows("gateway", "list")[0]["state"] == "away")
    wait_for("the confirmation", lambda: bench.rows("gateway", "list")[0]["pending_effects"] == 0)
    wait_for("the state", lambda: bench.rows("gateway", "list")[0]["state"] == "connected")


def test_a_denial_made_while_the_gateway_process_is_dead_is_carried_out_when_it_is_back(bench: Bench) -> None:
    """Effects are rows. The process is stopped, not killed: the supervisor would restart it at once."""
    connect = bench.connect()
    pid = bench.find_process(5)
    os.kill(pid, signal.SIGSTOP)
    done = bench.run("deny", "user", USER, "--reason", "test", "--wait", "0.3", check=False)
    assert done.returncode == 1
    assert bench.gateway_tunnels(USER_CONNECTION)
    os.kill(pid, signal.SIGKILL)
    wait_for("the cut", lambda: not bench.gateway_tunnels(USER_CONNECTION))
    wait_for("the confirmation", lambda: bench.rows("gateway", "list")[0]["pending_effects"] == 0)
    connect.wait(timeout=20)
    connect.communicate()


def test_connecting_from_a_device_that_is_not_the_users_is_refused(bench: Bench, tmp_path_factory: object) -> None:
    name = "laptop-of-bob.corp.example"
    folder = bench.lab.folder / "bob"
    if not folder.exists():
        bench.run("device", "add", name)
        bench.run("device", "report", name, "--compliant")
        bench.lab.issue_device_certificate(name, folder)
    command = [sys.executable, "-m", "evertunnel", "connect", "--server", f"https://{PUBLIC_NAME}",
               "--server-address", GATEWAY_ADDRESS, "--gateway",
               PUBLIC_NAME, "--gateway-address", GATEWAY_ADDRESS, "--device", str(folder), "--user", USER,
               "--network", USER_NETWORK, "--vici-socket", str(bench.lab.laptop_vici), "--encap"]  # fmt: skip

    def connect() -> None:
        done = subprocess.run(
            bench.lab.network.wrap("laptop", *command), input=PASSWORD + "\n", capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "Access was refused" in done.stderr
        assert "assigned" not in done.stderr

    assert bench.reason_of(connect) == "device_not_assigned"


def test_the_policy_server_killed_in_the_middle_loses_nothing(bench: Bench) -> None:
    connect = bench.connect()
    before = {row["id"] for row in bench.rows("session", "list", "--past")}
    os.kill(bench.find_process(2), signal.SIGKILL)
    assert bench.sessions("user")
    bench.disconnect(connect)
    time.sleep(0.1)
    connect = bench.connect()
    assert before <= {row["id"] for row in bench.rows("session", "list", "--past")}
    assert "all as they were committed" in bench.run("audit", "verify").stdout
    bench.disconnect(connect)
