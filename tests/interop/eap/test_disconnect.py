"""A gateway of another make, from its first login to a denial that its accounting confirms, with a real server."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.eap.conftest import BOB, Live, Wire
from tests.interop.server import wait_for
from tests.peers import accounting, radius
from tests.peers.dynamic import ACCT_SESSION_ID, USER_NAME, DynamicGateway
from tests.peers.eap_tls import Client
from tests.peers.gateway import Gateway

NewWire = Callable[..., Wire]
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
