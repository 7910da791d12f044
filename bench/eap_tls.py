"""Server CPU per full EAP-TLS login, ours against FreeRADIUS, by many real supplicants side by side."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.installation import USER

_CLIENTS = 16
_LOGINS = 1000
_IDLE_TICKS = 4  # in a second, of all processes
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One run against one server."""

    cpu_ms_per_login: float
    wall_seconds: float
    logins: int


def write_supplicant(folder: Path) -> Path:
    """The supplicant's configuration: TLS 1.2, full handshakes only."""
    path = folder / "supplicant.conf"
    path.write_text(
        f"""\
fast_reauth=0
network={{
  key_mgmt=WPA-EAP
  eap=TLS
  identity="{USER}"
  ca_cert="{folder}/root.pem"
  client_cert="{folder}/client.pem"
  private_key="{folder}/client.key"
  phase1="tls_disable_tlsv1_3=1 tls_disable_session_ticket=1"
}}
"""
    )
    return path


def measure(supplicant: Path, port: int, secret: str, pids: Callable[[], Sequence[int]]) -> Run:
    """Log in `_LOGINS` times by `_CLIENTS` supplicants; CPU of every process of the server."""
    repeats = -(-_LOGINS // _CLIENTS)
    command = ["eapol_test", "-c", str(supplicant), "-a", "127.0.0.1", "-p", str(port), "-s", secret,
               "-r", str(repeats - 1), "-t", "60"]  # fmt: skip
    _wait_until_idle(pids)
    before, began = read_cpu_ticks(pids()), time.monotonic()
    # To files: a supplicant whose pipe is full stops, and what is measured is the pipe.
    logs = [supplicant.with_name(f"client-{number}.log") for number in range(_CLIENTS)]
    with ExitStack() as stack:
        files = [stack.enter_context(log.open("wb")) for log in logs]
        clients = [subprocess.Popen(command, stdout=file, stderr=file) for file in files]
        for client in clients:
            client.wait()
    outputs = [log.read_text(errors="replace") for log in logs]
    wall = time.monotonic() - began
    ticks = read_cpu_ticks(pids()) - before
    logins = sum(output.count("CTRL-EVENT-EAP-SUCCESS") for output in outputs)
    if logins != repeats * _CLIENTS:
        worst = min(outputs, key=lambda output: output.count("CTRL-EVENT-EAP-SUCCESS"))
        sys.exit(f"only {logins} of {repeats * _CLIENTS} logins succeeded:\n{worst[-1500:]}")
    return Run(ticks / _TICKS_PER_SECOND * 1000 / logins, wall, logins)


def median(runs: Sequence[Run]) -> float:
    """Median CPU milliseconds per login."""
    return statistics.median(run.cpu_ms_per_login for run in runs)


def _wait_until_idle(pids: Callable[[], Sequence[int]]) -> None:
    """What a server does to start is not what a login costs."""
    ticks = -_TICKS_PER_SECOND
    while (now := read_cpu_ticks(pids())) - ticks > _IDLE_TICKS:
        ticks = now
        time.sleep(1)


def read_cpu_ticks(pids: Sequence[int]) -> int:
    """User and system time of processes so far, all threads, in clock ticks."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total
