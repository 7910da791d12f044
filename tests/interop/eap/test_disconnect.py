"""A gateway of another make, from its first login to a denial that its accounting confirms, with a real server."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyrad.packet import CoAPacket
from typer.testing import CliRunner, Result

from evertunnel.actions.end_session import ENDED_HERE
from evertunnel.cli.app import app
from tests.interop.eap.conftest import BOB, Live, Wire
from tests.interop.server import wait_for
from tests.peers import accounting, radius
from tests.peers.dynamic import ACCT_SESSION_ID, USER_NAME, DynamicGateway
from tests.peers.eap_tls import Client
from tests.peers.gateway import Gateway

NewWire = Callable[..., Wire]
IVAN, IDLE = "ivan@corp.example", "IDLE"
NAME, ADDRESS, DISCONNECT_SECRET = "fw1", "127.0.0.30", "of-its-own-and-long-enough-7Q"
INTERIM_INTERVAL = 85


@pytest.fixture
def firewall(live: Live) -> Iterator[DynamicGateway]:
    made = DynamicGateway(DISCONNECT_SECRET.encode())
    yield made
    made.close()
    live.run("allow", "user", BOB, check=False)
    live.run("gateway", "remove", NAME)


def find_session(live: Live, session_id: str) -> dict[str, Any]:
    rows = json.loads(live.run("session", "list", "--past", "--json"))
    found: dict[str, Any] = next(row for row in rows if row["id"] == session_id)
    return found


def deny(live: Live) -> tuple[int, str]:
    """Exit code, and what was said of this gateway; gw1 has no strongSwan here and never confirms."""
    command = live.build_command("deny", "user", BOB, "--reason", "left", "--wait", "3")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, next(line for line in done.stdout.splitlines() if line.startswith(f"  {NAME}: "))


def test_from_login_to_a_confirmed_denial(live: Live, new_wire: NewWire, firewall: DynamicGateway) -> None:
    command = live.build_command(
        "gateway", "add", NAME, "--address", ADDRESS, "--disconnect", f"127.0.0.1:{firewall.port}",
        "--ask-disconnect-secret",
    )  # fmt: skip
    done = subprocess.run(
        command, input=DISCONNECT_SECRET + "\n", capture_output=True, text=True, timeout=60, check=True
    )
    secret = done.stdout.splitlines()[-1].encode()
    pem = live.issue("--user", BOB).pem
    client = Client(root_pem=live.root_file.read_bytes(), pem=pem, identity=BOB, server_name="localhost")
    accept = Gateway(secret, new_wire(ADDRESS).carry).log_in(client)
    assert accept.code == radius.ACCEPT
    assert int.from_bytes(accept.packet[INTERIM_INTERVAL][0], "big") == 300
    class_ = str(accept.packet[radius.CLASS][0].decode())
    wire = new_wire(ADDRESS, port="accounting")

    def count(status: int) -> None:
        answer = wire.carry(accounting.build(secret, status, "fw-1", class_=class_, user=BOB))
        assert answer is not None

    count(accounting.START)
    assert find_session(live, class_)["state"] == "up"
    code, said = deny(live)
    assert code == 1
    assert "acknowledged after" in said
    assert "NOT CONFIRMED" in said
    assert firewall.requests[0][USER_NAME] == [BOB.encode()]
    assert firewall.requests[0][ACCT_SESSION_ID] == [b"fw-1"]
    count(accounting.STOP)
    assert find_session(live, class_)["state"] == "ended"
    wait_for(lambda: next(row for row in json.loads(live.run("gateway", "list", "--json"))
                          if row["name"] == NAME)["pending_effects"] == 0)  # fmt: skip


def test_while_its_secret_is_rotated_a_gateway_is_asked_under_the_one_that_it_has(
    live: Live, new_wire: NewWire, firewall: DynamicGateway
) -> None:
    added = live.run("gateway", "add", NAME, "--address", ADDRESS, "--disconnect", f"127.0.0.1:{firewall.port}")
    old = firewall.secret = added.splitlines()[-1].encode()
    client = Client(
        root_pem=live.root_file.read_bytes(), pem=live.issue("--user", BOB).pem, identity=BOB, server_name="localhost"
    )
    accept = Gateway(old, new_wire(ADDRESS).carry).log_in(client)
    class_ = str(accept.packet[radius.CLASS][0].decode())
    wire = new_wire(ADDRESS, port="accounting")
    assert wire.carry(accounting.build(old, accounting.START, "fw-1", class_=class_, user=BOB)) is not None
    new = live.run("gateway", "secret", "rotate", NAME).splitlines()[-1].encode()
    assert "acknowledged after" in deny(live)[1]
    assert new != old and firewall.requests[0][ACCT_SESSION_ID] == [b"fw-1"]


def run_here(live: Live, *arguments: str) -> Result:
    """In this process: an interpreter for each command would be most of what a test waits for."""
    return CliRunner().invoke(app, ["--state", str(live.state.path), *arguments], catch_exceptions=False)


def test_a_session_is_ended_confirmed_by_accounting_and_its_user_may_come_back(
    live: Live, new_wire: NewWire, firewall: DynamicGateway
) -> None:
    added = run_here(live, "gateway", "add", NAME, "--address", ADDRESS, "--disconnect", f"127.0.0.1:{firewall.port}")
    secret = firewall.secret = added.stdout.splitlines()[-1].encode()
    assert run_here(live, "user", "add", IVAN).exit_code == run_here(live, "device", "add", IDLE).exit_code == 0
    assert run_here(live, "group", "join", "Long-lived", "--user", IVAN).exit_code == 0
    pem = live.issue("--user", IVAN).pem
    wire = new_wire(ADDRESS, port="accounting")

    def end(*arguments: str) -> Result:
        return run_here(live, "session", "end", *arguments)

    def find(session: str) -> dict[str, Any]:
        rows = json.loads(run_here(live, "session", "list", "--past", "--user", IVAN, "--json").stdout)
        found: dict[str, Any] = next(row for row in rows if row["id"] == session)
        return found

    def count(status: int, acct_session_id: str, session: str) -> None:
        report = accounting.build(secret, status, acct_session_id, class_=session, user=IVAN)
        assert wire.carry(report) is not None

    def log_in(acct_session_id: str) -> str:
        client = Client(root_pem=live.root_file.read_bytes(), pem=pem, identity=IVAN, server_name="localhost")
        accept = Gateway(secret, new_wire(ADDRESS).carry).log_in(client)
        assert accept.code == radius.ACCEPT
        session = str(accept.packet[radius.CLASS][0].decode())
        count(accounting.START, acct_session_id, session)
        assert find(session)["state"] == "up"
        return session

    first = log_in("fw-1")
    for wrong, told in ((["nonsense"], "there is no session 'nonsense'"), (["--device", IDLE], "no live session")):
        refused = end(*wrong)
        assert (refused.exit_code, refused.stdout, told in refused.stderr) == (1, "", True)
        assert refused.stderr.count("\n") == 1
    assert not firewall.requests

    unconfirmed = end(first, "--wait", "0")
    assert unconfirmed.exit_code == 1
    assert "NOT CONFIRMED" in unconfirmed.stdout
    assert "Nothing keeps a client from coming back at once" in unconfirmed.stdout
    wait_for(lambda: bool(firewall.requests))
    assert firewall.requests[0][USER_NAME] == [IVAN.encode()]
    assert firewall.requests[0][ACCT_SESSION_ID] == [b"fw-1"]
    assert f"is ending already: {ENDED_HERE}" in end(first).stderr
    count(accounting.STOP, "fw-1", first)
    assert find(first)["end"] == ENDED_HERE
    assert "ended already" in end(first).stderr
    attempts = json.loads(run_here(live, "attempt", "list", "--user", IVAN, "--json").stdout)
    assert ENDED_HERE in run_here(live, "attempt", "show", attempts[0]["id"]).stdout

    second = log_in("fw-2")

    def stop(request: CoAPacket, _data: bytes) -> list[bytes]:
        if request[ACCT_SESSION_ID] == [b"fw-2"]:
            count(accounting.STOP, "fw-2", second)
        return [firewall.say(request, yes=True)]

    firewall.answer = stop
    done = end("--user", IVAN, "--wait", "30", "--json")
    assert done.exit_code == 0, done.stderr
    assert [(row["session"], row["state"]) for row in json.loads(done.stdout)["sessions"]] == [(second, "confirmed")]
    assert run_here(live, "user", "remove", IVAN).exit_code == run_here(live, "device", "remove", IDLE).exit_code == 0


def test_one_that_was_disabled_is_heard_and_of_one_that_was_removed_it_is_said_what_stays_up(
    live: Live, new_wire: NewWire
) -> None:
    secret = live.run("gateway", "add", "gone", "--address", "127.0.0.31").splitlines()[-1].encode()
    live.run("gateway", "change", "gone", "--disable")
    wire = new_wire("127.0.0.31")

    def is_silent() -> bool:
        wire.send(radius.build_request(secret, radius.split_eap(b"\x02\x01\x00\x05\x01")))
        return wire.receive(seconds=0.5) is None

    wait_for(is_silent)
    assert (
        new_wire("127.0.0.31", port="accounting").carry(accounting.build(secret, accounting.STOP, "over")) is not None
    )
    said = live.run("gateway", "remove", "gone")
    assert "end them there" in said and "strongSwan" not in said
