"""Floods against a real server: what they cost it, and that real supplicants get in meanwhile."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.eap.conftest import BOB, Live, Wire
from tests.interop.eap.eapol import Supplicant
from tests.interop.eap.flood import Flood
from tests.interop.server import find_children, wait_for
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, Client, build_response
from tests.peers.gateway import Gateway

NewWire = Callable[..., Wire]
MEGABYTE = 1_000_000
EAP = build_response(0, IDENTITY, BOB.encode())


def list_radius_processes(live: Live) -> list[int]:
    """Told by the users they became; without root all processes are one user's, and all are taken."""
    children = find_children(live.server.pid)
    users = {pid: Path(f"/proc/{pid}").stat().st_uid for pid in children}
    return [pid for pid in children if users[pid] == live.radius_user or os.geteuid() != 0]


def read_resident_bytes(live: Live) -> int:
    total = 0
    for pid in list_radius_processes(live):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
    return total


@pytest.fixture
def fresh(live: Live) -> Live:
    """With processes that hold nothing of what other tests left."""
    before = list_radius_processes(live)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(set(list_radius_processes(live)) - set(before)) == len(before))
    return live


@pytest.fixture
def flood(live: Live) -> Iterator[Flood]:
    made = Flood(live.ports["radius"], live.secret)
    yield made
    made.close()


def build_hello(live: Live) -> bytes:
    """A good ClientHello as an EAP-Response."""
    client = Client(root_pem=live.root_file.read_bytes(), pem=None, server_name="localhost")
    return client.answer(bytes.fromhex("01010006 0d20"))


@contextmanager
def going_on(run: Callable[[], None]) -> Iterator[None]:
    """Do it again and again in a thread while this lasts."""
    ended = threading.Event()
    failed: list[Exception] = []

    def repeat() -> None:
        try:
            while not ended.is_set():
                run()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    yield
    ended.set()
    thread.join(timeout=30)
    assert failed == []


def test_twenty_thousand_half_open_logins_and_twenty_real_ones(
    fresh: Live, flood: Flood, supplicant: Supplicant
) -> None:
    live, hello = fresh, build_hello(fresh)
    pem = live.issue("--user", BOB).pem
    assert supplicant.log_in(pem, BOB, again=9).succeeded
    before = read_resident_bytes(live)
    flood.open(10_000)
    flood.open_with_hello(10_000, hello)
    held = read_resident_bytes(live) - before
    assert held < 100 * MEGABYTE
    with going_on(lambda: (flood.open(64), flood.open_with_hello(192, hello))[0]):
        answered = flood.answered
        outcome = supplicant.log_in(pem, BOB, again=19)
    assert flood.answered - answered > 256, "it was not a flood"
    assert outcome.succeeded, outcome.output[-3_000:]
    assert (outcome.keys_that_match, outcome.keys_that_differ) == (20, 0)
    assert read_resident_bytes(live) - before < 100 * MEGABYTE
    print(f"20,000 half-open logins hold {held / MEGABYTE:.0f} MB")


def build_burst(live: Live, flood: Flood) -> list[bytes]:
    """Ten thousand packets: beginnings, forged ones, States nobody gave out, and noise."""
    chance = random.Random(1)
    kinds: list[Callable[[], bytes]] = [
        lambda: flood.build(EAP),
        lambda: flood.build(EAP)[:-1] + bytes((chance.randrange(256),)),
        lambda: flood.build(build_response(1, 13, b"\0"), os.urandom(16)),
        lambda: chance.randbytes(chance.randint(0, 1_400)),
    ]
    return [kinds[number % 4]() for number in range(10_000)]


def measure_login(live: Live, wire: Wire, pem: bytes) -> float:
    """Seconds of a whole login, whose gateway repeats what is not answered within a quarter of a second."""
    client = Client(root_pem=live.root_file.read_bytes(), pem=pem, identity=BOB, server_name="localhost")

    def carry(data: bytes) -> bytes | None:
        for _ in range(80):
            wire.send(data)
            answer = wire.receive(seconds=0.25)
            while answer is not None and answer[1] != data[1]:
                answer = wire.receive(seconds=0.25)
            if answer is not None:
                return answer
        return None

    began = time.monotonic()
    assert Gateway(live.secret, carry).log_in(client).code == radius.ACCEPT
    return time.monotonic() - began


def test_a_burst_of_ten_thousand_packets_delays_nobody_for_long(live: Live, flood: Flood, new_wire: NewWire) -> None:
    pem = live.issue("--user", BOB).pem
    undisturbed = min(measure_login(live, new_wire(), pem) for _ in range(3))
    packets, wire = build_burst(live, flood), new_wire()
    flood.blast(packets)
    disturbed = measure_login(live, wire, pem)
    # A second where a login takes 15 ms; on a machine that is busy with other things, as much longer as they.
    assert disturbed - undisturbed < max(1.0, 100 * undisturbed)
    print(f"login {undisturbed * 1000:.0f} ms, after the burst {disturbed * 1000:.0f} ms")


@pytest.mark.parametrize("port", ["radius", "accounting"])
def test_status_server_is_answered_on_both_ports(live: Live, tmp_path: Path, port: str) -> None:
    for secret, answered in ((live.secret, True), (b"another secret", False)):
        (tmp_path / "secret").write_bytes(secret)
        (tmp_path / "request").write_text("Message-Authenticator = 0x00\n", encoding="ascii")
        command = ["radclient", "-x", "-r", "1", "-t", "1", "-f", tmp_path / "request", "-S", tmp_path / "secret",
                   f"127.0.0.1:{live.ports[port]}", "status"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode == 0) is answered, done.stdout + done.stderr
        kind = "Access-Accept" if port == "radius" else "Accounting-Response"
        assert (f"Received {kind}" in done.stdout) is answered
