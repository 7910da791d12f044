"""The systemd units: how much they leave, and that the program lives with it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from evertunnel.protocols.agent.code import EnrolmentCode, encode_code
from tests.interop.sandbox import find_allowed_calls, read_unit
from tests.interop.server import PROCESSES, USER_BASE, Server, find_children, wait_for

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "deploy" / "evertunnel.service"
AGENT = ROOT / "deploy" / "evertunnel-agent.service"
DROP_IN = ROOT / "deploy" / "strongswan.service.d" / "evertunnel.conf"
STRONGSWAN = Path("/lib/systemd/system/strongswan.service")
# systemd's own measure, from 0 (nothing left) to 10; below 3 is its "OK". The bars may only be lowered.
BARS = {"evertunnel.service": 2.5, "strongswan.service": 3.9, "evertunnel-agent.service": 1.5}


def measure(name: str, folder: Path) -> float:
    """The exposure level of a unit with its drop-ins."""
    (folder / name).write_text((STRONGSWAN if name == STRONGSWAN.name else UNIT.with_name(name)).read_text())
    if name == "strongswan.service":
        # --offline reads no drop-in beside a file that is given by its path: it is what systemd makes of both.
        with (folder / name).open("a") as file:
            file.write("\n" + DROP_IN.read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(folder / name)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


@pytest.mark.parametrize("name", BARS)
def test_a_unit_leaves_no_more_than_its_bar(tmp_path: Path, name: str) -> None:
    if name == "strongswan.service" and not STRONGSWAN.exists():
        pytest.fail("strongSwan's package is not installed")
    assert measure(name, tmp_path) <= BARS[name]


@pytest.mark.parametrize("path", [UNIT, AGENT, DROP_IN], ids=lambda path: path.name)
def test_systemd_understands_every_line(tmp_path: Path, path: Path) -> None:
    text = path.read_text().replace("/usr/local/bin/evertunnel", "/bin/true")
    if path == DROP_IN:
        text = STRONGSWAN.read_text() + "\n" + text
    unit = tmp_path / "checked.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    assert [line for line in done.stderr.splitlines() if "checked.service" in line] == []


@pytest.mark.parametrize("call", ["mount", "ptrace", "bpf", "init_module", "kexec_load", "setrlimit", "keyctl"])
def test_calls_nobody_here_needs_are_refused(call: str) -> None:
    assert call not in find_allowed_calls(read_unit(UNIT))


def test_the_program_serves_with_what_its_unit_leaves(fresh: Server) -> None:
    fresh.init()
    fresh.set_radius_workers(2)  # whose packets the kernel steers by a program of ours, without the call bpf
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(fresh.folder / "notify"))
    listener.settimeout(30)
    command = [sys.executable, "-m", "tests.interop.sandbox", str(UNIT), str(USER_BASE), *fresh.command("serve")]
    with fresh.log.open("wb") as log, listener:
        fresh.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": str(fresh.folder / "notify")},
        )  # fmt: skip
        assert listener.recv(100) == b"READY=1"
        wait_for(fresh.answers, seconds=30)
        assert set(fresh.list_children()) == set(PROCESSES)
        for pid in fresh.list_children().values():
            status = Path(f"/proc/{pid}/status").read_text()
            assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
        fresh.run("user", "add", "alice@corp.example", "--password", stdin="a password for tests\n")  # argon2, cffi
        fresh.run("device", "add", "laptop1.corp.example")
        out = fresh.folder / "laptop1"
        fresh.run("certificate", "issue", "--device", "laptop1.corp.example", "--out", str(out))
        crl = subprocess.run(
            ["curl", "-sf", f"http://127.0.0.1:{fresh.http}/crl/issuing.crl"], capture_output=True, check=False
        )
        assert crl.returncode == 0 and crl.stdout
        radius = fresh.list_children()["radius"]
        os.kill(radius, signal.SIGKILL)
        wait_for(lambda: radius not in (found := find_children(fresh.process.pid)) and len(found) == 1 + len(PROCESSES))
        fresh.process.send_signal(signal.SIGTERM)
        assert listener.recv(100) == b"STOPPING=1"
    assert fresh.process.wait(timeout=20) == 0
    fresh.process = None
    text = fresh.log.read_text()
    assert "Traceback" not in text and '"level":"error"' not in text and "not permitted" not in text, text


def test_the_agent_starts_with_what_its_unit_leaves(tmp_path: Path) -> None:
    """As far as it comes without a server: all of it is loaded, its keys are made, and it says what is missing."""
    command = [
        sys.executable,
        "-m",
        "tests.interop.sandbox",
        str(AGENT),
        str(USER_BASE),
        sys.executable,
        "-m",
        "evertunnel",
    ]
    folder = ["--folder", str(tmp_path / "agent"), "--user", "0"]
    code = encode_code(EnrolmentCode(bytes(16), bytes(32), "gw2", "127.0.0.1", 1))
    for arguments, given, words in ((["enrol"], code, "cannot be reached"), ([], "", "no agent was enrolled")):
        done = subprocess.run(
            [*command, "gateway", "agent", *arguments, *folder],
            input=given, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 1
        assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr


CHARON = """
mount -t tmpfs tmpfs /run
ip link set lo up
{python} -m tests.interop.sandbox {drop_in} 0 /usr/sbin/charon-systemd >&2 &
for _ in $(seq 100); do [ -S /run/charon.vici ] && break; sleep 0.1; done
swanctl --stats && grep NoNewPrivs /proc/$!/status
kill $! && wait $!
"""


def test_strongswan_starts_and_answers_with_what_its_drop_in_leaves() -> None:
    script = CHARON.format(python=sys.executable, drop_in=DROP_IN)
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", script],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "IKE_SAs: 0 total" in done.stdout and "kernel-netlink" in done.stdout
    assert "NoNewPrivs:\t1" in done.stdout


def test_the_guide_uses_the_units() -> None:
    guide = (ROOT / "docs" / "first-gateway.md").read_text()
    assert "deploy/evertunnel.service" in guide and "deploy/strongswan.service.d" in guide
    assert shutil.which("systemd-analyze")
    assert "deploy/evertunnel-agent.service" in (ROOT / "docs" / "second-gateway.md").read_text()
