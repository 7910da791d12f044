"""docs/benchmarks.md from what was measured."""

import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from bench.denial import Denial
from bench.eap_tls import Run, median
from bench.workers import WORKERS_BAR

_PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def write_report(
    ours: Sequence[Run],
    theirs: Sequence[Run],
    workers: Mapping[int, Sequence[Run]],
    denials: Sequence[Denial],
    profiles: tuple[float, float],
    now: datetime,
) -> str:
    """Write the page and return it."""
    text = f"""\
# Benchmarks

Made by `make bench` on {now:%Y-%m-%d}: {_find_processor()}, {_count_cores()} cores, {platform.system()} \
{platform.release().split("-")[0]}, Python {platform.python_version()}.
Compare the ratio: absolute times of one machine say little about another, and these swing by a third from run to run.

## Server CPU of a full EAP-TLS login

P-256, TLS 1.2, the same certificates on both sides, 16 `eapol_test` side by side, {ours[0].logins:,} logins a run, \
runs alternated.
CPU is user and system time of every process of the server.

| server | CPU ms per login, each run | median |
|---|---|---|
| Evertunnel: all policies, revocation, durable attempts | {_list(ours)} | {median(ours):.2f} |
| FreeRADIUS {_find_freeradius()}, stock configuration, `check_crl = yes`, session cache off, \
`default_eap_type = tls` | {_list(theirs)} | {median(theirs):.2f} |

Ratio: **{median(ours) / median(theirs):.2f}**

FreeRADIUS would begin every login with EAP-MD5, which the client refuses; `default_eap_type = tls` spares it that.

## Two RADIUS workers against one

The same logins, `radius_workers` set to one and to two by turns, {len(workers[1])} runs each.

| workers | CPU ms per login, each run | median | logins a second, median |
|---|---|---|---|
| 1 | {_list(workers[1])} | {median(workers[1]):.2f} | {_rate(workers[1]):.0f} |
| 2 | {_list(workers[2])} | {median(workers[2]):.2f} | {_rate(workers[2]):.0f} |

Ratio: **{median(workers[2]) / median(workers[1]):.2f}**, at most {WORKERS_BAR}: \
{"met" if median(workers[2]) / median(workers[1]) <= WORKERS_BAR else "not met"}. Logins a second: \
{_rate(workers[2]) / _rate(workers[1]):.2f} times as many, on cores that the supplicants fill.

## From a denial to the last packet

A user tunnel in the lab carries a packet a millisecond; `evertunnel deny user`; when did the last packet reach the
corporate host? Counted from the moment the denial is committed under. {len(denials)} times.

| | minimum | median | maximum |
|---|---|---|---|
| last packet through the tunnel, ms | {_spread([denial.last_packet_ms for denial in denials])} |
| confirmed on the gateway, ms | {_spread([denial.confirmed_ms for denial in denials])} |

## Profiles

A user tunnel with twenty routes, per minute of CPU: **{profiles[0]:,.0f}** written as ProfileXML,
**{profiles[1]:,.0f}** read back and linted.
"""
    _PAGE.write_text(text, encoding="utf-8")
    return text


def _rate(runs: Sequence[Run]) -> float:
    return statistics.median(run.logins / run.wall_seconds for run in runs)


def _list(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.cpu_ms_per_login:.2f}" for run in runs)


def _spread(values: Sequence[float]) -> str:
    return " | ".join(f"{value:.0f}" for value in (min(values), statistics.median(values), max(values)))


def _find_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _count_cores() -> int:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8").count("processor\t")


def _find_freeradius() -> str:
    printed = subprocess.run(["freeradius", "-v"], capture_output=True, text=True, check=True).stdout
    return printed.split("Version ")[1].split(",")[0]
