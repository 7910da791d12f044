"""docs/benchmarks.md from what was measured."""

import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.access import POLICIES
from bench.denial import Denial
from bench.eap_tls import Logins, Run
from bench.many_sessions import MANY, TUNNELS, ManySessions
from bench.mass import ENDED, Mass
from bench.replay import ACCESS_POLICIES, ATTEMPTS, SESSIONS
from bench.tunnels import Tunnels
from bench.workers import ONE, TWO, TWO_AWAKE, Setting
from evertunnel.gateways.effect_worker import PACED_AT_ONCE

_PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


# The most that a login may cost in parts of what FreeRADIUS takes for it.
_BAR_SQLITE, _BAR_POSTGRESQL = 0.65, 0.75
_BAR_WORKERS = 1.15
_BAR_GROWTH_MB = 5
_BAR_DECISION = 100
_BAR_REPLAY = 10
_BAR_AGAIN = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything, in the order of the page."""

    logins: Logins
    workers: Mapping[Setting, Sequence[Run]]
    growth: tuple[int, float]
    denials: Sequence[Denial]
    many: ManySessions
    tunnels: tuple[Tunnels, Tunnels]
    profiles: tuple[float, float]
    access: tuple[float, float]
    replay: tuple[float, float]


def write_report(measured: Measured, now: datetime) -> str:
    """Write the page and return it."""
    text = f"""\
# Benchmarks

Made by `make bench` on {now:%Y-%m-%d}: {_find_processor()}, {_count_cores()} cores, {platform.system()} \
{platform.release().split("-")[0]}, Python {platform.python_version()}.
Compare the ratio: absolute times of one machine say little about another, and these swing by a third from run to run.

## Server CPU of a full EAP-TLS login

{_describe_logins(measured.logins)}
{_describe_workers(measured.workers, *measured.growth)}
{_describe_denials(measured.denials, measured.many)}
{_describe_tunnels(*measured.tunnels)}
## Profiles

A user tunnel with twenty routes, per minute of CPU: **{measured.profiles[0]:,.0f}** written as ProfileXML,
**{measured.profiles[1]:,.0f}** read back and linted.

{_describe_access(*measured.access)}
{_describe_replay(*measured.replay)}"""
    _PAGE.write_text(text, encoding="utf-8")
    return text


def _describe_replay(replayed: float, decided: float) -> str:
    return f"""\
With {ACCESS_POLICIES} policies: a draft over {ATTEMPTS:,} recorded attempts takes **{replayed:.1f} s** of CPU \
besides the database, at most {_BAR_REPLAY}: {_say(replayed <= _BAR_REPLAY)}.
To decide {SESSIONS:,} live sessions again, facts in memory, **{decided:.2f} s**, at most {_BAR_AGAIN}: \
{_say(decided <= _BAR_AGAIN)}.
"""


def _describe_access(decided: float, recorded: float) -> str:
    return f"""\
## Conditional access

{POLICIES} policies, 20 of which apply, decided for one sign-in: **{decided:.0f}** microseconds of CPU on one core \
(at most {_BAR_DECISION}: {_say(decided <= _BAR_DECISION)}); {recorded:.0f} with each policy's result in words, as an \
attempt records them.
"""


def _describe_workers(workers: Mapping[Setting, Sequence[Run]], logins: int, growth_mb: float) -> str:
    one, two, awake = workers[ONE], workers[TWO], workers[TWO_AWAKE]
    ratio = _median(two) / _median(one)
    return f"""\
## Two RADIUS workers against one, and many logins

The same logins, `radius_workers` set to one and to two by turns, {len(one)} runs each. Of two, one takes new
logins while it has time left, as it has here (`radius_workers_awake`).

| workers | CPU ms per login, each run | median | logins a second, median |
|---|---|---|---|
| 1 | {_list(one)} | {_median(one):.2f} | {_rate(one):.0f} |
| 2 | {_list(two)} | {_median(two):.2f} | {_rate(two):.0f} |
| 2, always awake | {_list(awake)} | {_median(awake):.2f} | {_rate(awake):.0f} |

Ratio: **{ratio:.2f}**, at most {_BAR_WORKERS}: {_say(ratio <= _BAR_WORKERS)}. \
Always awake: {_median(awake) / _median(one):.2f}. \
Logins a second: {_rate(two) / _rate(one):.2f} times as many, always awake {_rate(awake) / _rate(one):.2f}, \
on cores that the supplicants fill.

After {logins:,} logins the policy server held **{growth_mb:.1f} MB** more than after the first 2,000; \
at most {_BAR_GROWTH_MB}: {_say(growth_mb <= _BAR_GROWTH_MB)}.
Answers are kept for 20 seconds, for repetitions.
"""


def _describe_denials(denials: Sequence[Denial], many: ManySessions) -> str:
    worst = max(denial.last_packet_ms for denial in denials)
    one = max(many.one)
    return f"""\
## From a denial to the last packet

A user tunnel in the lab carries a packet a millisecond; `evertunnel deny user`; when did the last packet reach the
corporate host? Counted from the moment the denial is committed under. {len(denials)} times, by turns over the
gateway on our host and over one on another, with an agent.

| | minimum | median | maximum | bar |
|---|---|---|---|---|
| last packet through the tunnel, ms | {_spread([denial.last_packet_ms for denial in denials])} \
| 1,000: {_say(worst <= 1000)} |
| confirmed on both gateways, ms | {_spread([denial.confirmed_ms for denial in denials])} | |

A gateway that exists on its control socket only, with {TUNNELS:,} tunnels up: one denial was confirmed after
{_join(many.one)} s (at most 1: {_say(one <= 1)}), {MANY:,} in a row within **{many.many:.1f} s** of the first \
(at most 10: {_say(many.many <= 10)}). Whatever time a real strongSwan needs to list its tunnels comes on top.

One change that the other sessions are all decided again for and {ENDED:,} end by, on the same gateway; the cuts are
spread ({PACED_AT_ONCE} a second). Seconds from the commit; where facts change all is read anew that is decided from:

| the change | recorded which end | bar | the last was seen to be gone |
|---|---|---|---|
| a policy is switched on | {_describe_mass(many.policy)} |
| a fact of everybody, in one import | {_describe_mass(many.facts)} |
"""


def _describe_mass(mass: Mass) -> str:
    return f"{mass.decided:.2f} | {_BAR_AGAIN}: {_say(mass.decided <= _BAR_AGAIN)} | {mass.cut:.1f}"


def _describe_tunnels(ours: Tunnels, alone: Tunnels) -> str:
    return f"""\
## Tunnels end to end

IKEv2 with EAP-TLS in the lab, one after the other, from the first packet to the child. CPU is of the gateway's side.

| | tunnels a second | CPU ms per tunnel |
|---|---|---|
| strongSwan asks Evertunnel: policies, record, accounting | {ours.per_second:.1f} | {ours.cpu_ms:.1f} |
| strongSwan verifies EAP-TLS itself and asks nobody | {alone.per_second:.1f} | {alone.cpu_ms:.1f} |
"""


def _say(holds: bool) -> str:
    return "met" if holds else "not met"


def _rate(runs: Sequence[Run]) -> float:
    return statistics.median(run.logins / run.wall_seconds for run in runs)


def _describe_logins(logins: Logins) -> str:
    theirs = _median(logins.freeradius)
    return f"""\
P-256, TLS 1.2, the same certificates on both sides, 16 `eapol_test` side by side, {logins.sqlite[0].logins:,} logins \
a run, runs alternated.
CPU is user and system time of every process of the server, and of every one of PostgreSQL's.
Evertunnel has all policies, revocation and durable attempts; FreeRADIUS {_find_freeradius()} its stock configuration,
`check_crl = yes`, the session cache off, and `default_eap_type = tls`: it would begin every login with EAP-MD5, which
the client refuses.

| server | CPU ms per login, each run | median | ratio to FreeRADIUS | bar |
|---|---|---|---|---|
| Evertunnel with SQLite | {_list(logins.sqlite)} | {_judge(_median(logins.sqlite), theirs, _BAR_SQLITE)} |
| Evertunnel with PostgreSQL | {_list(logins.postgresql)} \
| {_judge(_median(logins.postgresql), theirs, _BAR_POSTGRESQL)} |
| FreeRADIUS | {_list(logins.freeradius)} | {theirs:.2f} | 1 | |
| the handshake alone, by OpenSSL in a loop | {_join(logins.handshake_ms)} \
| {statistics.median(logins.handshake_ms):.2f} | {statistics.median(logins.handshake_ms) / theirs:.2f} | |

Where it goes, CPU ms per login, median:

| process | with SQLite | with PostgreSQL |
|---|---|---|
{_describe_parts(logins)}

The policy server's (`radius`) holds the handshake; the others have nothing to do with a login and are what they take
while they wait, which grows with the seconds a run lasts: {_list_seconds(logins.sqlite)} with SQLite, \
{_list_seconds(logins.postgresql)} with PostgreSQL.

Inside `radius`, sampled once (SQLite, per cent): the interpreter and its objects 42, OpenSSL 33, memory 11, the kernel
with sockets and files 7, SQLite 3, digests 2. What was tried against it: docs/decisions/0017-speed-of-a-login.md.
Alone in a loop, with no supplicants on the same cores, the same code takes about two thirds of that.
"""


def _judge(value: float, theirs: float, bar: float) -> str:
    ratio = value / theirs
    return f"{value:.2f} | **{ratio:.2f}** | {bar:.2f}: {_say(ratio <= bar)}"


def _describe_parts(logins: Logins) -> str:
    names = list(dict.fromkeys(name for run in (logins.sqlite[0], logins.postgresql[0]) for name in run.parts))
    return "\n".join(
        f"| {name} | "
        + " | ".join(
            f"{statistics.median(run.parts[name] for run in runs):.2f}" if name in runs[0].parts else ""
            for runs in (logins.sqlite, logins.postgresql)
        )
        + " |"
        for name in names
    )


def _median(runs: Sequence[Run]) -> float:
    return statistics.median(run.cpu_ms_per_login for run in runs)


def _list(runs: Sequence[Run]) -> str:
    return _join([run.cpu_ms_per_login for run in runs])


def _list_seconds(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.wall_seconds:.0f}" for run in runs)


def _join(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


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
