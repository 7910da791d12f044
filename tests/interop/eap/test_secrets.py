"""Status-Server by radclient on each port, and secrets: of a network, two at once, which one is in use."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.eap.conftest import BOB, Live, Wire
from tests.interop.server import wait_for
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, build_response

NewWire = Callable[..., Wire]
EAP = build_response(0, IDENTITY, BOB.encode())
NETWORK, INSIDE, OUTSIDE = "127.0.0.20/30", ("127.0.0.20", "127.0.0.23"), "127.0.0.24"
NOTHING_MORE_SECONDS = 0.3


def ask_status(live: Live, port: str, secret: bytes, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file, secret_file = tmp_path / "request", tmp_path / "secret"
    file.write_text("Message-Authenticator = 0x00\n", encoding="utf-8")
    secret_file.write_bytes(secret)
    return subprocess.run(
        ["radclient", "-x", "-r", "1", "-t", "1", "-f", file, "-S", secret_file, f"127.0.0.1:{live.ports[port]}",
         "status"], capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("port", "answer"), [("radius", "Access-Accept"), ("accounting", "Accounting-Response")])
def test_radclient_is_told_that_we_are_there(live: Live, tmp_path: Path, port: str, answer: str) -> None:
    done = ask_status(live, port, live.secret, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert answer in done.stdout
    assert ask_status(live, port, b"guessed", tmp_path).returncode != 0


@pytest.mark.parametrize("port", ["radius", "accounting"])
def test_a_flood_of_questions_is_bounded_and_keeps_nobody_out(live: Live, new_wire: NewWire, port: str) -> None:
    wire = new_wire(port=port)
    for number in range(200):
        wire.send(radius.sign(live.secret, b"", code=12, identifier=number, authenticator=bytes((number,)) * 16))
    answers = 0
    while wire.receive(seconds=NOTHING_MORE_SECONDS) is not None:
        answers += 1
    assert 20 <= answers < 150
    login = radius.build_request(live.secret, radius.split_eap(EAP))
    assert new_wire().carry(login) is not None


def is_answered(wire: Wire, secret: bytes) -> bool:
    request = radius.build_request(secret, radius.split_eap(EAP))
    wire.send(request)
    reply = wire.receive(seconds=NOTHING_MORE_SECONDS)
    if reply is None:
        return False
    assert radius.read_reply(secret, request, reply).code == radius.CHALLENGE
    return True


def find_secret(live: Live, name: str) -> dict[str, Any]:
    rows = json.loads(live.run("gateway", "secret", "list", "--json"))
    found: dict[str, Any] = next(row for row in rows if row["gateway"] == name)
    return found


def test_a_network_asks_with_two_secrets_until_one_counts_no_longer(live: Live, new_wire: NewWire) -> None:
    before = live.run("gateway", "add", "network", "--address", NETWORK).splitlines()[-1].encode()
    wires = [new_wire(address) for address in INSIDE]
    wait_for(lambda: is_answered(wires[0], before))
    assert is_answered(wires[1], before)
    assert not is_answered(new_wire(OUTSIDE), before)
    after = live.run("gateway", "secret", "rotate", "network").splitlines()[-1].encode()
    wait_for(lambda: is_answered(wires[0], after))
    wait_for(lambda: find_secret(live, "network")["used_at"])
    assert find_secret(live, "network")["previous_used_at"] is None
    assert "the new one" in live.run("gateway", "secret", "list")
    assert is_answered(wires[1], before)
    assert not is_answered(wires[1], b"neither")
    wait_for(lambda: find_secret(live, "network")["previous_used_at"])
    assert "the old one was used last" in failed(live, "gateway", "secret", "finish", "network")
    assert is_answered(wires[0], after)
    live.run("gateway", "secret", "finish", "network", "--force")
    wait_for(lambda: not is_answered(wires[1], before))
    assert is_answered(wires[1], after)
    for secret in (before, after):
        assert secret not in live.log_file.read_bytes()


def failed(live: Live, *command: str) -> str:
    done = subprocess.run(live.build_command(*command), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


def test_a_weak_secret_is_warned_about_and_shown_as_such(live: Live) -> None:
    command = live.build_command("gateway", "add", "weak", "--address", "198.51.100.77", "--ask-secret")
    done = subprocess.run(command, input="testing123\n", capture_output=True, text=True, timeout=60, check=True)
    assert "WEAK" in done.stderr
    assert "testing123" not in done.stdout + done.stderr
    assert find_secret(live, "weak")["weakness"]
    assert "WEAK" in live.run("gateway", "list")
