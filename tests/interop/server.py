"""The real program on loopback: `evertunnel init` and `evertunnel serve`, with its processes and its command line."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests.folders import make_folder
from tests.interop.forked import run_forked
from tests.ports import find_port

USER_BASE = 61_900
PUBLIC_NAME = "localhost"
PROCESSES = ("signer", "radius", "web-public", "web-admin", "gateway", "gate")
# The order in which `init --user-base` gives out numbers.
OFFSETS = {"group": 0, "signer": 1, "radius": 2, "web-public": 3, "web-admin": 4, "gateway": 5, "gate": 6}


def wait_for(holds: Callable[[], Any], *, seconds: float = 15.0) -> Any:
    """Wait until something holds and return it; fails the test when it never does."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"did not come within {seconds} s"
        time.sleep(0.02)
    return found


class Server:
    """One installation, served or not."""

    def __init__(self) -> None:
        self.folder = make_folder()
        self.state = self.folder / "state"
        self.http, self.https, self.gate = find_port(), find_port(), find_port()
        self.radius = find_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.folder / "serve.log"

    def command(self, *arguments: str) -> list[str]:
        """A command line of ours."""
        return [sys.executable, "-m", "evertunnel", "--state", str(self.state), *arguments]

    def run(
        self, *arguments: str, stdin: str | bytes = "", check: bool = True, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; no terminal, and what it needs to ask for comes from `stdin`."""
        done = run_forked(
            self.command(*arguments)[3:],
            stdin if isinstance(stdin, bytes) else stdin.encode(),
            {**os.environ, **(environment or {})},
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def api(self, method: str, path: str, body: Any = None, *, check: bool = True) -> httpx2.Response:
        """Ask the admin API itself: much quicker than a command, where the command is not what is tested."""
        transport = httpx2.HTTPTransport(uds=str(self.state / "run" / "admin.sock"))
        with httpx2.Client(transport=transport, base_url="http://admin/v1", timeout=30) as client:
            answer = client.request(method, path, json=body)
        assert not check or answer.is_success, answer.text
        return answer

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def init(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`evertunnel init` with ports of our own and users by number; one RADIUS worker on any machine."""
        done = self.run(
            "init", "--organisation", "Example", "--public-name", PUBLIC_NAME, "--user-base", str(USER_BASE),
            "--public-url", f"http://127.0.0.1:{self.http}", "--listen-radius", f"127.0.0.1:{self.radius}",
            "--listen-http", f"127.0.0.1:{self.http}", "--listen-https", f"127.0.0.1:{self.https}",
            "--listen-gate", f"127.0.0.1:{self.gate}", *options, check=check,
        )  # fmt: skip
        if done.returncode == 0:
            self.set_radius_workers(1)
        return done

    def set_radius_workers(self, count: int) -> None:
        """For the next `serve`."""
        config = self.state / "evertunnel.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith("radius_workers")]
        config.write_text("\n".join([f"radius_workers = {count}", *lines, ""]))

    def start(self) -> None:
        """`evertunnel serve`; returns when it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command("serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self.answers, seconds=30)

    def answers(self) -> bool:
        """Whether the admin API, both public servers and the gate answer."""
        assert self.process is None or self.process.poll() is None, self.log.read_text()
        return (
            all(map(_accepts, (self.http, self.https, self.gate)))
            and self.run("user", "list", check=False).returncode == 0
        )

    def stop(self) -> int:
        """SIGTERM and wait; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def list_children(self) -> dict[str, int]:
        """Process name -> pid of what the supervisor runs, told by their users."""
        assert self.process is not None
        names = {USER_BASE + offset: name for name, offset in OFFSETS.items()}
        found = {}
        for pid in find_children(self.process.pid):
            try:
                uid = Path(f"/proc/{pid}").stat().st_uid
            except FileNotFoundError:
                continue
            if uid in names:
                found[names[uid]] = pid
        return found

    def remove(self) -> None:
        """Stop what runs and leave nothing."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def find_children(pid: int) -> list[int]:
    """Pids of the children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
