"""Server CPU per full EAP-TLS login, ours against FreeRADIUS, by many real supplicants side by side."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.installation import USER, Installation
from bench.supplicants import Supplicant, count_logins, log_in

Processes = Callable[[], Mapping[str, Sequence[int]]]

_CLIENTS = 16
_LOGINS = 1000
_IDLE_MS = 100.0  # a second in which all processes together took no more is one of rest
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One run against one server. `parts` is CPU milliseconds per login by the name of a process."""

    parts: Mapping[str, float]
    wall_seconds: float
    logins: int

    @property
    def cpu_ms_per_login(self) -> float:
        """Of all processes together."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Logins:
    """All runs, by server. `handshake_ms` is what OpenSSL alone takes for one."""

    sqlite: list[Run]
    postgresql: list[Run]
    freeradius: list[Run]
    handshake_ms: list[float]

    def describe_last(self) -> str:
        """The last round in a line."""
        runs = {"SQLite": self.sqlite, "PostgreSQL": self.postgresql, "FreeRADIUS": self.freeradius}
        found = [f"{name} {run[-1].cpu_ms_per_login:.2f} ms" for name, run in runs.items()]
        return ", ".join([*found, f"the handshake alone {self.handshake_ms[-1]:.2f} ms"])


def measure(installation: Installation, port: int, find_processes: Processes) -> Run:
    """Log in `_LOGINS` times by `_CLIENTS` supplicants with an installation's certificates."""
    configuration, repeats = _write_supplicant(installation.folder), -(-_LOGINS // _CLIENTS)
    client = Supplicant(configuration, logins=repeats)
    clients, secret = [client] * _CLIENTS, installation.read_radius_secret()
    return measure_logins(lambda: log_in(clients, port, secret), find_processes)[0]


def measure_logins(log_in: Callable[[], list[str]], find_processes: Processes) -> tuple[Run, list[str]]:
    """What a server at rest takes for logins, which return what supplicants said."""
    _wait_until_idle(find_processes)
    before, began = read_cpu_ms(find_processes()), time.monotonic()
    outputs = log_in()
    wall = time.monotonic() - began
    after = read_cpu_ms(find_processes())
    logins = sum(map(count_logins, outputs))
    return Run({name: (spent - before.get(name, 0.0)) / logins for name, spent in after.items()}, wall, logins), outputs


def _wait_until_idle(find_processes: Processes) -> None:
    """What a server does to start is not what a login costs."""
    spent = -_IDLE_MS * 2
    while (now := sum(read_cpu_ms(find_processes()).values())) - spent > _IDLE_MS:
        spent = now
        time.sleep(1)


def read_cpu_ms(processes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """User and system time so far by name, all threads and ended children."""
    return {name: sum(map(_read_ticks, pids)) * 1000 / _TICKS_PER_SECOND for name, pids in processes.items()}


def _read_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended just now, and counts among its parent's
    return sum(map(int, fields[11:15]))


def _write_supplicant(folder: Path) -> Path:
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
