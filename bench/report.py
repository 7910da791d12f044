"""docs/benchmarks.md from what was measured."""

import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from bench.access import POLICIES
from bench.denial import Denial
from bench.eap_tls import Logins, Run
from bench.many_sessions import MANY, TUNNELS, ManySessions
from bench.mass import ENDED, Mass
from bench.replay import ACCESS_POLICIES, ATTEMPTS, SESSIONS
from bench.tunnels import Tunnels
from bench.words import find_freeradius, join, list_runs, median, say
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


def write_report(sections: Sequence[str], now: datetime) -> None:
    """Write the page."""
    _PAGE.write_text(f"{describe_machine(now)}\n{chr(10).join(sections)}", encoding="utf-8")


def describe_machine(now: datetime) -> str:
    """What the page begins with."""
    return f"""\
# Benchmarks

Made by `make bench` on {now:%Y-%m-%d}: {_find_processor()}, {_count_cores()} cores, {platform.system()} \
{platform.release().split("-")[0]}, Python {platform.python_version()}.
Compare the ratio: absolute times of one machine say little about another, and these swing by a third from run to run.
"""


def describe_profiles(written: float, read: float) -> str:
    """The section about profiles, by how many a minute of CPU makes and reads."""
    return f"""\
## Profiles

A user tunnel with twenty routes, per minute of CPU: **{written:,.0f}** written as ProfileXML,
**{read:,.0f}** read back and linted.
"""


def describe_replay(replayed: float, decided: float) -> str:
    """What follows in the section about conditional access: deciding again."""
    return f"""\
With {ACCESS_POLICIES} policies: a draft over {ATTEMPTS:,} recorded attempts takes **{replayed:.1f} s** of CPU \
besides the database, at most {_BAR_REPLAY}: {say(replayed <= _BAR_REPLAY)}.
To decide {SESSIONS:,} live sessions again, facts in memory, **{decided:.2f} s**, at most {_BAR_AGAIN}: \
{say(decided <= _BAR_AGAIN)}.
"""


def describe_access(decided: float, recorded: float) -> str:
    """The section about conditional access, by microseconds."""
    return f"""\
## Conditional access

{POLICIES} policies, 20 of which apply, decided for one sign-in: **{decided:.0f}** microseconds of CPU on one core \
(at most {_BAR_DECISION}: {say(decided <= _BAR_DECISION)}); {recorded:.0f} with each policy's result in words, as an \
attempt records them.
"""


def describe_workers(workers: Mapping[Setting, Sequence[Run]], logins: int, growth_mb: float) -> str:
    """The section about two workers, and about memory."""
    one, two, awake = workers[ONE], workers[TWO], workers[TWO_AWAKE]
    ratio = median(two) / median(one)
    return f"""\
## Two RADIUS workers against one, and many logins

The same logins, `radius_workers` set to one and to two by turns, {len(one)} runs each. Of two, one takes new
logins while it has time left, as it has here (`radius_workers_awake`).

| workers | CPU ms per login, each run | median | logins a second, median |
|---|---|---|---|
| 1 | {list_runs(one)} | {median(one):.2f} | {_rate(one):.0f} |
| 2 | {list_runs(two)} | {median(two):.2f} | {_rate(two):.0f} |
| 2, always awake | {list_runs(awake)} | {median(awake):.2f} | {_rate(awake):.0f} |

Ratio: **{ratio:.2f}**, at most {_BAR_WORKERS}: {say(ratio <= _BAR_WORKERS)}. \
Always awake: {median(awake) / median(one):.2f}. \
Logins a second: {_rate(two) / _rate(one):.2f} times as many, always awake {_rate(awake) / _rate(one):.2f}, \
on cores that the supplicants fill.

After {logins:,} logins the policy server held **{growth_mb:.1f} MB** more than after the first 2,000; \
at most {_BAR_GROWTH_MB}: {say(growth_mb <= _BAR_GROWTH_MB)}.
Answers are kept for 20 seconds, for repetitions.
"""


def describe_denials(denials: Sequence[Denial], many: ManySessions) -> str:
    """The section about denials."""
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
| 1,000: {say(worst <= 1000)} |
| confirmed on both gateways, ms | {_spread([denial.confirmed_ms for denial in denials])} | |

A gateway that exists on its control socket only, with {TUNNELS:,} tunnels up: one denial was confirmed after
{join(many.one)} s (at most 1: {say(one <= 1)}), {MANY:,} in a row within **{many.many:.1f} s** of the first \
(at most 10: {say(many.many <= 10)}). Whatever time a real strongSwan needs to list its tunnels comes on top.

One change that the other sessions are all decided again for and {ENDED:,} end by, on the same gateway; the cuts are
spread ({PACED_AT_ONCE} a second). Seconds from the commit until another process reads it; for a fact of everybody users
and all their facts are read anew:

| the change | recorded which end | bar | the last was seen to be gone |
|---|---|---|---|
| a policy is switched on | {_describe_mass(many.policy)} |
| a fact of everybody, in one import | {_describe_mass(many.facts)} |
"""


def _describe_mass(mass: Mass) -> str:
    return f"{mass.decided:.2f} | {_BAR_AGAIN}: {say(mass.decided <= _BAR_AGAIN)} | {mass.cut:.1f}"


def describe_tunnels(ours: Tunnels, alone: Tunnels) -> str:
    """The section about tunnels."""
    return f"""\
## Tunnels end to end

IKEv2 with EAP-TLS in the lab, one after the other, from the first packet to the child. CPU is of the gateway's side.

| | tunnels a second | CPU ms per tunnel |
|---|---|---|
| strongSwan asks Evertunnel: policies, record, accounting | {ours.per_second:.1f} | {ours.cpu_ms:.1f} |
| strongSwan verifies EAP-TLS itself and asks nobody | {alone.per_second:.1f} | {alone.cpu_ms:.1f} |
"""


def _rate(runs: Sequence[Run]) -> float:
    return statistics.median(run.logins / run.wall_seconds for run in runs)


def describe_logins(logins: Logins) -> str:
    """The section about the login of a small installation."""
    theirs = median(logins.freeradius)
    return f"""\
## Server CPU of a full EAP-TLS login

P-256, TLS 1.2, the same certificates on both sides, 16 `eapol_test` side by side, {logins.sqlite[0].logins:,} logins \
a run, runs alternated.
CPU is user and system time of every process of the server, and of every one of PostgreSQL's.
Evertunnel has all policies, revocation and durable attempts; FreeRADIUS {find_freeradius()} its stock configuration,
`check_crl = yes`, the session cache off, and `default_eap_type = tls`: it would begin every login with EAP-MD5, which
the client refuses.

| server | CPU ms per login, each run | median | ratio to FreeRADIUS | bar |
|---|---|---|---|---|
| Evertunnel with SQLite | {list_runs(logins.sqlite)} | {_judge(median(logins.sqlite), theirs, _BAR_SQLITE)} |
| Evertunnel with PostgreSQL | {list_runs(logins.postgresql)} \
| {_judge(median(logins.postgresql), theirs, _BAR_POSTGRESQL)} |
| FreeRADIUS | {list_runs(logins.freeradius)} | {theirs:.2f} | 1 | |
| the handshake alone, by OpenSSL in a loop | {join(logins.handshake_ms)} \
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
    return f"{value:.2f} | **{ratio:.2f}** | {bar:.2f}: {say(ratio <= bar)}"


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


def _list_seconds(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.wall_seconds:.0f}" for run in runs)


def _spread(values: Sequence[float]) -> str:
    return " | ".join(f"{value:.0f}" for value in (min(values), statistics.median(values), max(values)))


def _find_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _count_cores() -> int:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8").count("processor\t")
