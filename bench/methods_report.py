"""The part of docs/benchmarks.md about EAP methods in a large installation."""

import statistics
from collections.abc import Mapping

from bench import organisation
from bench.methods import METHODS, PEAP_MSCHAPV2, PEAP_TLS, TLS, TLS_RESUMED, TLS_RSA, Compared
from bench.words import find_freeradius, join, list_runs, median, say

# The most that a login may cost in parts of what FreeRADIUS takes for it; a resumed one in parts of our own full one.
_BARS = {TLS.words: 0.50, TLS_RSA.words: 0.65, PEAP_MSCHAPV2.words: 0.60, PEAP_TLS.words: 0.60}
_GOAL = 0.40
_BAR_RESUMED = 0.40
# And in multiples of what OpenSSL alone takes for the handshake.
_BAR_HANDSHAKE = 1.8


def describe_methods(measured: Mapping[str, Compared]) -> str:
    """The section."""
    logins, by_password = measured[TLS.words].ours[0].logins, measured[PEAP_MSCHAPV2.words].ours[0].logins
    users, network, access = organisation.USERS, organisation.NETWORK_POLICIES, organisation.ACCESS_POLICIES
    return f"""\
## Methods, in a large installation

{users:,} users in groups within groups, {network} network policies, {access} conditional access policies about groups,
platforms, places, risks and device filters, no two alike; durable attempts. Each login is decided by all conditional
access policies and, as the one that grants is among the last three, by nearly all network policies; its record holds
what each of them said.

TLS 1.2, SQLite, {organisation.CLIENTS} `eapol_test` side by side, each with a user, a device and a key of its own, \
{logins} logins a run
({by_password} with passwords), runs alternated. Each login begins with the method that the client wants, on both sides.
FreeRADIUS {find_freeradius()} has its stock configuration with `check_crl = yes`, all these users in its `users` file,
and no policies.

| method | Evertunnel, CPU ms per login | median | FreeRADIUS | median | ratio | bar |
|---|---|---|---|---|---|---|
{_describe_rows(measured)}

{_describe_resumed(measured)}

{_describe_handshakes(measured)}

Resumed are all logins of a client but its first: {logins - organisation.CLIENTS} of {logins}. FreeRADIUS' session \
cache is off but for that row,
where it is on disk (`persist_dir`): this version has no other.

RSA: an installation of `evertunnel init --key-type rsa3072`, the shortest RSA keys that it makes; clients' keys and the
policy server's have 2,048 bits, on both sides. The policy server's was put in for this measurement: no command makes
it.

One name may be tried ten times a minute from one address, so passwords come from another address every third time.

{_describe_awake(measured)}

Where it goes, CPU ms per login, median:

| process | {" | ".join(method.words for method in METHODS)} |
|---|{"---|" * len(METHODS)}
{_describe_parts(measured)}
"""


def _describe_rows(measured: Mapping[str, Compared]) -> str:
    rows = []
    for method in METHODS:
        compared = measured[method.words]
        ours, theirs = median(compared.ours), median(compared.theirs)
        bar = _BARS.get(method.words)
        judged = "" if bar is None else f"{bar:.2f}: {say(ours / theirs <= bar)}"
        if method is TLS:
            judged += f" (goal {_GOAL:.2f})"
        rows.append(
            f"| {method.words} | {list_runs(compared.ours)} | {ours:.2f} | {list_runs(compared.theirs)} | {theirs:.2f} "
            f"| **{ours / theirs:.2f}** | {judged} |"
        )
    return "\n".join(rows)


def _describe_resumed(measured: Mapping[str, Compared]) -> str:
    ratio = median(measured[TLS_RESUMED.words].ours) / median(measured[TLS.words].ours)
    theirs = median(measured[TLS_RESUMED.words].theirs) / median(measured[TLS.words].theirs)
    return (
        f"EAP-TLS resumed against our own full one: **{ratio:.2f}**, at most {_BAR_RESUMED:.2f}: "
        f"{say(ratio <= _BAR_RESUMED)}. FreeRADIUS against its own: {theirs:.2f}."
    )


def _describe_handshakes(measured: Mapping[str, Compared]) -> str:
    full = measured[TLS.words]
    alone = statistics.median(full.handshake_ms)
    ratio = median(full.ours) / alone
    rsa = measured[TLS_RSA.words]
    rsa_alone = statistics.median(rsa.handshake_ms)
    return (
        "The handshake alone, server side, through the same OpenSSL in a loop: "
        f"{join(full.handshake_ms)} ms with P-256; a login takes **{ratio:.2f}** times that, at most {_BAR_HANDSHAKE}: "
        f"{say(ratio <= _BAR_HANDSHAKE)}. "
        f"With RSA-2048 {join(rsa.handshake_ms)} ms, a login {median(rsa.ours) / rsa_alone:.2f} times that."
    )


def _describe_awake(measured: Mapping[str, Compared]) -> str:
    """A second worker that is awake costs a fifth more (docs/decisions/0012), so it is told where it was."""
    woken = [method.words for method in METHODS if max(measured[method.words].awake) > 1]
    if not woken:
        return "One RADIUS worker took all logins."
    return f"One RADIUS worker took all logins, but a second one woke under the load of: {'; '.join(woken)}."


def _describe_parts(measured: Mapping[str, Compared]) -> str:
    names = list(measured[TLS.words].ours[0].parts)
    return "\n".join(
        f"| {name} | "
        + " | ".join(
            f"{statistics.median(run.parts[name] for run in measured[method.words].ours):.2f}" for method in METHODS
        )
        + " |"
        for name in names
    )
