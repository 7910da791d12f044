"""A laptop that goes on from another address (MOBIKE): strongSwan says so, and its session is decided from there."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from evertunnel.gateways.strongswan import USER_CONNECTION
from evertunnel.lab.lab import wait_for
from evertunnel.lab.network import LAPTOP_ADDRESS
from tests.lab.conftest import COUNTRIES, Bench

HOTEL, ABROAD = "198.51.100.21", "198.51.100.22"  # where these are, says COUNTRIES


class Laptop:
    """Where the laptop is."""

    def __init__(self, bench: Bench) -> None:
        self.namespace = bench.lab.network.namespace("laptop")
        self.address = LAPTOP_ADDRESS

    def move(self, address: str) -> None:
        """Another network: the old address is gone."""
        self.run("address", "del", f"{self.address}/24", "dev", "outside")
        self.run("address", "add", f"{address}/24", "dev", "outside")
        self.run("route", "replace", "default", "via", "198.51.100.1")
        self.address = address

    def run(self, *arguments: str) -> None:
        subprocess.run(["ip", "-n", self.namespace, *arguments], check=True, capture_output=True, timeout=10)


@pytest.fixture
def laptop(bench: Bench) -> Iterator[Laptop]:
    made = Laptop(bench)
    yield made
    if made.address != LAPTOP_ADDRESS:
        made.move(LAPTOP_ADDRESS)


def test_a_user_tunnel_moves_along_and_ends_in_a_country_that_a_policy_blocks(bench: Bench, laptop: Laptop) -> None:
    bench.run("policy", "location", "add", "Abroad", "--country", COUNTRIES[ABROAD])
    bench.run("policy", "access", "add-template", "block-countries", "--location", "Abroad", "--name", "Abroad", "--on")
    connect = bench.connect()
    with closing(bench.gateway()) as vici, closing(vici.listen(timeout_seconds=5)) as events:
        threading.Timer(0.5, laptop.move, [HOTEL]).start()
        moves = (event[1] for event in events if event is not None and event[0] == "ike-update")
        # The new address stands beside the tunnel, which still has the old one.
        said = next(moves)
    assert (said["remote-host"], said[USER_CONNECTION]["remote-host"]) == (HOTEL, LAPTOP_ADDRESS)
    wait_for("the new address", lambda: [row["remote_address"] for row in bench.sessions("user")] == [HOTEL])
    laptop.move(ABROAD)
    wait_for("the cut", lambda: not bench.gateway_tunnels(USER_CONNECTION))
    wait_for("the end of the session", lambda: not bench.sessions("user"))
    past = bench.rows("session", "list", "--past")
    (ended,) = (row for row in past if row["remote_address"] == ABROAD)
    assert ended["end_reason"] == "blocked_by_access_policy"
    # The cut may fall into the client's own exchange; then it hears nothing, and looks for life minutes later.
    connect.terminate()
    connect.communicate(timeout=30)
    bench.run("policy", "access", "remove", "Abroad")
    bench.run("policy", "location", "remove", "Abroad")
