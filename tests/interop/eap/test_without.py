"""What is said when a resource is gone: no Accept without a commit, silence for our inability, and back by itself.

One installation on a small disk of its own, whose processes believe the clock that a file tells (libfaketime).
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.interop.eap.conftest import ALICE, BOB, USER_BASE, Live, Wire, make_wires
from tests.interop.eap.flood import Flood
from tests.interop.eap.test_abuse import MEGABYTE, build_hello, list_radius_processes
from tests.interop.server import OFFSETS, find_children, wait_for
from tests.peers import accounting, radius
from tests.peers.eap_tls import Client
from tests.peers.gateway import Gateway

HOUR = 3_600
SILENT_SECONDS = 1.0


class Poor(Live):
    """An installation whose resources can be taken away."""

    def __init__(self, folder: Path) -> None:
        self.clock = folder / "clock"
        self.set_clock(0)
        super().__init__(folder)

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(timeout=30)

    def set_clock(self, seconds: int) -> None:
        """All processes see the time so much later from now on; clocks that only run on are not touched."""
        new = self.clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.chmod(0o644)
        new.replace(self.clock)

    def count_in_log(self, words: str) -> int:
        return self.log_file.read_text(encoding="utf-8").count(words)


@pytest.fixture(scope="module")
def poor() -> Iterator[Poor]:
    folder = Path(tempfile.mkdtemp(prefix="evertunnel-test-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", folder], check=True)
        stack.callback(subprocess.run, ["umount", "-l", folder], check=True)
        with pytest.MonkeyPatch.context() as patch:
            (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
            for name, value in {
                "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"), "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }.items():  # fmt: skip
                patch.setenv(name, value)
            made = Poor(folder)
        stack.callback(made.close)
        yield made


@pytest.fixture
def new_wire(poor: Poor) -> Iterator[Callable[..., Wire]]:
    with make_wires(poor) as make:
        yield make


@pytest.fixture(scope="module")
def pem(poor: Poor) -> bytes:
    return poor.issue("--user", BOB).pem


def log_in(poor: Poor, wire: Wire, pem: bytes, identity: str = BOB) -> tuple[int | None, bytes]:
    """The code of the last answer, and the request that got it; None if the server says that it could not record."""
    client = Client(root_pem=poor.root_file.read_bytes(), pem=pem, identity=identity, server_name="localhost")
    failures = poor.count_in_log("cannot record")
    request = b""

    def carry(data: bytes) -> bytes | None:
        nonlocal request
        request = data
        wire.send(data)
        for _ in range(200):
            answer = wire.receive(seconds=0.1)
            if answer is not None or poor.count_in_log("cannot record") > failures:
                return answer
        return None

    gateway = Gateway(poor.secret, carry)
    answer = gateway.ask(client.answer_identity())
    while answer.code == radius.CHALLENGE:
        eap = client.answer(answer.eap)
        ended = gateway.send(gateway.build(eap, answer.state))
        if ended is None:
            return None, request
        answer = ended
    return answer.code, request


def count_granted(poor: Poor) -> int:
    return sum(attempt["outcome"] == "granted" for attempt in poor.list_attempts(1_000))


def ask_status(poor: Poor, wire: Wire) -> bytes | None:
    wire.send(radius.sign(poor.secret, b"", code=12, authenticator=os.urandom(16)))
    return wire.receive(seconds=SILENT_SECONDS)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    yield
    filler.unlink()


def test_without_disk(poor: Poor, new_wire: Callable[..., Wire], pem: bytes) -> None:
    wire, accounting_wire = new_wire(), new_wire(port="accounting")
    assert log_in(poor, wire, pem)[0] == radius.ACCEPT
    before, accepted = count_granted(poor), 0
    with full_disk(poor.state.path.parent):
        for _ in range(500):  # what the write-ahead log still has room for goes through
            code, request = log_in(poor, wire, pem)
            if code is None:
                break
            assert code == radius.ACCEPT
            accepted += 1
        assert code is None, "the disk was not full"
        # Each worker learns it by a commit of its own; then we do not say that we are there.
        wait_for(lambda: log_in(poor, wire, pem)[0] is None and ask_status(poor, wire) is None, seconds=30)
        start = accounting.build(poor.secret, accounting.START, "full disk")
        accounting_wire.send(start)
        assert accounting_wire.receive(seconds=SILENT_SECONDS) is None
        assert count_granted(poor) == before + accepted
    answer = wire.carry(request)
    assert answer is not None
    assert answer[0] == radius.ACCEPT, "the gateway said it again, and by now it could be recorded"
    assert count_granted(poor) == before + accepted + 1
    assert accounting_wire.carry(start) is not None
    wait_for(lambda: ask_status(poor, wire), seconds=45)
    assert poor.run("audit", "verify")


@contextmanager
def limited(pids: list[int], option: str, value: Callable[[int], int]) -> Iterator[None]:
    """A soft limit on running processes; set by their own user, for a container's root may not."""

    def limit(pid: int, number: str) -> None:
        status = Path(f"/proc/{pid}").stat()
        command = ["prlimit", f"--pid={pid}", f"--{option}={number}:"]
        subprocess.run(command, check=True, user=status.st_uid, group=status.st_gid, extra_groups=[])

    for pid in pids:
        limit(pid, str(value(pid)))
    yield
    for pid in pids:
        if Path(f"/proc/{pid}/status").exists():
            limit(pid, "unlimited" if option == "as" else "1024")


def find_free_descriptor(pid: int) -> int:
    """The number that the next descriptor of a process would get; a limit of this lets it open nothing."""
    used = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in itertools.count() if number not in used)


def list_children(poor: Poor) -> dict[str, set[int]]:
    """Pids of our processes by the user they became; without root all are one user's."""
    names = {USER_BASE + offset: name for name, offset in OFFSETS.items()}
    found: dict[str, set[int]] = {}
    for pid in find_children(poor.server.pid):
        found.setdefault(names.get(Path(f"/proc/{pid}").stat().st_uid, "gateway"), set()).add(pid)
    return found


def list_steady_children(poor: Poor) -> dict[str, set[int]]:
    """Without the one that works through threads: it ends, sooner or later, when one of them did."""
    return {name: pids for name, pids in list_children(poor).items() if name != "gateway"}


def test_without_descriptors(poor: Poor, new_wire: Callable[..., Wire], pem: bytes) -> None:
    assert log_in(poor, new_wire(), pem)[0] == radius.ACCEPT
    before = list_steady_children(poor)
    with limited(find_children(poor.server.pid), "nofile", find_free_descriptor):
        # More than one: a connection that was just being closed leaves its number to the first.
        asking = [
            subprocess.Popen(poor.build_command("user", "list"), stdout=subprocess.PIPE, text=True) for _ in range(3)
        ]
        for _ in range(5):
            assert log_in(poor, new_wire(), pem)[0] == radius.ACCEPT, "a login opens nothing"
        wait_for(lambda: poor.count_in_log("out of system resource"))
    for each in asking:
        output, _ = each.communicate(timeout=30)
        assert (each.returncode, BOB in output) == (0, True), "who could not be taken waited"
    assert list_steady_children(poor) == before
    wait_for(lambda: "gateway" in list_children(poor))


def test_when_the_clock_is_set_and_set_back(poor: Poor, new_wire: Callable[..., Wire], pem: bytes) -> None:
    before, short_lived = list_steady_children(poor), poor.enrol()
    try:
        poor.set_clock(HOUR)
        assert log_in(poor, new_wire(), pem)[0] == radius.ACCEPT
        assert log_in(poor, new_wire(), short_lived, ALICE)[0] == radius.REJECT, "its hour is over"
        poor.set_clock(-HOUR)
        assert log_in(poor, new_wire(), pem)[0] == radius.REJECT, "it has not begun"
    finally:
        poor.set_clock(0)
    reasons = [attempt["reason"] for attempt in poor.list_attempts(1_000)]
    assert reasons.count("certificate_expired") == 2
    assert log_in(poor, new_wire(), pem)[0] == radius.ACCEPT
    assert log_in(poor, new_wire(), short_lived, ALICE)[0] == radius.ACCEPT
    assert list_steady_children(poor) == before
    assert poor.run("audit", "verify")


def read_virtual_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))


def test_without_memory(poor: Poor, new_wire: Callable[..., Wire], pem: bytes) -> None:
    before, granted = find_children(poor.server.pid), count_granted(poor)
    ended = poor.count_in_log('"event":"process ended"')
    flood = Flood(poor.ports["radius"], poor.secret, patience_seconds=SILENT_SECONDS)
    with closing(flood):
        hello = build_hello(poor)
        with limited(list_radius_processes(poor), "as", lambda pid: read_virtual_bytes(pid) + 4 * MEGABYTE):
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                flood.open_with_hello(1_000, hello)
            assert count_granted(poor) == granted
        wait_for(lambda: log_in(poor, new_wire(), pem)[0] == radius.ACCEPT)
    assert count_granted(poor) == granted + 1
    reasons = {attempt["reason"] for attempt in poor.list_attempts(1_000)}
    assert not reasons & {"tls_failed", "internal_error"}, "nobody is refused because we lack memory"
    # The kernel, or the process itself, ends what cannot go on; it is back at once. Nobody else is touched.
    lost = set(before) - set(find_children(poor.server.pid))
    assert poor.count_in_log('"event":"process ended"') - ended == len(lost)
