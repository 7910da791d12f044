"""`evertunnel attempt` against a real server: what is refused by RADIUS is listed, watched and exported."""

import csv
import io
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

import pytest

from evertunnel.state_folder import StateFolder
from evertunnel.storage.gateways import get_gateway, radius_secret_context
from evertunnel.storage.store import Store
from tests.interop.server import Server, wait_for
from tests.peers import radius

GATEWAY = (
    "--public-name", "vpn.example.com", "--device-pool", "10.30.0.0/20", "--user-pool", "10.31.0.0/20",
    "--device-network", "10.20.0.0/16", "--user-network", "10.20.0.0/16", "--radius-address", "127.0.0.1",
)  # fmt: skip


class Refused:
    """Has logins refused, for they come without EAP."""

    def __init__(self, server: Server) -> None:
        self._server = server
        state = StateFolder(server.state)
        store = Store(state.database_url)
        with store.read() as connection:
            row = get_gateway(connection, "gw1")
        store.close()
        self._secret = state.keystore.unseal(row.radius_secret_sealed, context=radius_secret_context(row.id))

    def log_in(self, address: str) -> None:
        """Until the server, which may just have begun, has refused it."""
        request = radius.build_request(self._secret, [(radius.CALLING_STATION_ID, address.encode())])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0.5)

            def ask() -> bool:
                sender.sendto(request, ("127.0.0.1", self._server.radius))
                try:
                    return radius.read_reply(self._secret, request, sender.recv(4096)).code == radius.REJECT
                except TimeoutError:
                    return False

            wait_for(ask, seconds=30)


@pytest.fixture(scope="module")
def refused(server: Server) -> Refused:
    server.run("gateway", "add", "gw1", *GATEWAY, "--vici-socket", str(server.folder / "none"))
    return Refused(server)


class Watching:
    """`attempt watch --json`; its lines as they come."""

    def __init__(self, server: Server, *options: str) -> None:
        # What a shell starts in the background is deaf to ctrl-c, and so is what it starts, these tests as well.
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT", *server.command("attempt", "watch", "--json", *options)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self.told: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=_read, args=(self.process.stdout, self.lines)),
            threading.Thread(target=_read, args=(self.process.stderr, self.told)),
        ]
        for reader in self._readers:
            reader.start()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    def addresses(self) -> list[str]:
        return [json.loads(line)["client_address"] for line in list(self.lines)]

    def has_told(self, words: str) -> bool:
        return any(words in line for line in list(self.told))


def _read(stream: IO[str], lines: list[str]) -> None:
    with stream:
        for line in stream:
            lines.append(line)  # noqa: PERF402  each is to be seen when it comes


@pytest.fixture
def watching(server: Server, refused: Refused) -> Iterator[Watching]:
    made = Watching(server, "--gateway", "gw1", "--outcome", "refused")
    try:
        wait_for(lambda: made.has_told("Watching"), seconds=30)
        yield made
    finally:
        made.close()


def test_who_watches_misses_nothing_over_a_restart_and_ends_by_ctrl_c(
    server: Server, refused: Refused, watching: Watching
) -> None:
    refused.log_in("192.0.2.1")
    wait_for(lambda: watching.addresses() == ["192.0.2.1"], seconds=30)
    server.stop()
    wait_for(lambda: watching.has_told("The server is away"), seconds=30)
    server.start()
    refused.log_in("192.0.2.2")
    wait_for(lambda: watching.addresses() == ["192.0.2.1", "192.0.2.2"], seconds=30)
    wait_for(lambda: watching.has_told("The server is back"), seconds=30)  # another pipe: no order
    watching.process.send_signal(signal.SIGINT)
    assert watching.process.wait(timeout=30) == 0
    assert "Traceback" not in "".join(watching.told)


def test_list_and_export_take_the_same_filters(server: Server, refused: Refused) -> None:
    refused.log_in("192.0.2.3")
    options = ("--gateway", "gw1", "--reason", "method_refused", "--kind", "user tunnel", "--since", "1h")
    listed = server.json("attempt", "list", *options)
    assert listed[0]["client_address"] == "192.0.2.3"
    assert (listed[0]["nps_reason_code"], listed[0]["detail"]) == (22, "the gateway asked without EAP")
    shown = server.run("attempt", "list", *options, "--limit", "1")
    assert (shown.stdout.count("\n"), "higher --limit" in shown.stderr) == (2, True), "a list cut short says so"
    assert "--limit" not in server.run("attempt", "list", *options).stderr
    oldest_first = [row["id"] for row in listed[::-1]]
    table = list(csv.DictReader(io.StringIO(server.run("attempt", "export", *options).stdout)))
    assert [row["id"] for row in table] == oldest_first
    lines = server.run("attempt", "export", "--format", "jsonl", *options).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == oldest_first


def test_an_export_goes_into_a_file_that_was_not_there(server: Server, refused: Refused) -> None:
    refused.log_in("192.0.2.4")
    out = server.folder / "attempts.csv"
    server.run("attempt", "export", "--out", str(out))
    assert out.read_text().startswith("id,at,kind,")
    again = server.run("attempt", "export", "--out", str(out), check=False)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "attempts.csv cannot be written" in again.stderr


def test_a_filter_that_is_wrong_makes_no_file(server: Server) -> None:
    out = server.folder / "none.csv"
    done = server.run("attempt", "export", "--gateway", "gw9", "--out", str(out), check=False)
    assert done.returncode == 1
    assert "there is no gateway 'gw9'" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("command", ["list", "export"])
def test_a_time_that_is_none_is_one_line(server: Server, command: str) -> None:
    done = server.run("attempt", command, "--since", "lately", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("evertunnel: --since: 'lately' is not a time such as")
    assert done.stderr.count("\n") == 1


def test_what_is_shown_reads_from_top_to_bottom(server: Server, refused: Refused) -> None:
    refused.log_in("192.0.2.5")
    newest = server.json("attempt", "list", "--limit", "1")[0]
    text = server.run("attempt", "show", newest["id"]).stdout
    order = ["NPS reason:    22 (the EAP type", "Steps", "radius", "no EAP in it", "outcome", "Cause:", "What to do:"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
