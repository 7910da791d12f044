"""Conditional access on live tunnels: what stops to hold ends them, and it is said why."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyotp

from evertunnel import clock
from evertunnel.gateways.strongswan import USER_CONNECTION
from evertunnel.lab.lab import USER, wait_for
from tests.lab.conftest import Bench


@contextmanager
def policy(bench: Bench, folder: Path, *, state: str, **changes: Any) -> Iterator[str]:
    """A policy of alice's, imported and in the end removed."""
    document = {
        "displayName": "Lab",
        "state": state,
        "conditions": {"users": {"includeUsers": [USER]}, "applications": {"includeApplications": ["VPN"]}},
        "grantControls": {"operator": "OR", "builtInControls": ["block"]},
    } | changes
    file = folder / "policy.json"
    file.write_text(json.dumps(document))
    bench.run("policy", "access", "import", str(file))
    try:
        yield "Lab"
    finally:
        bench.run("policy", "access", "remove", "Lab")


def find_result(bench: Bench, attempt_id: str, name: str) -> str:
    shown = json.loads(bench.run("attempt", "show", attempt_id, "--json").stdout)
    return next(str(row["result"]) for row in shown["policies"] if row["policy"] == name)


def test_a_policy_switched_from_report_only_to_on_cuts_within_a_second(bench: Bench, tmp_path: Path) -> None:
    with policy(bench, tmp_path, state="enabledForReportingButNotEnforced") as name:
        connect = bench.connect()
        granted = next(row for row in bench.attempts() if row["kind"] == "user tunnel")
        assert (granted["outcome"], find_result(bench, granted["id"], name)) == ("granted", "reportOnlyFailure")
        found = json.loads(bench.run("policy", "access", "replay", "--on", name, "--json").stdout)
        assert granted["id"] in {row["attempt"] for row in found["differences"]}
        bench.run("policy", "access", "switch", name, "on")
        assert wait_for("the cut", lambda: not bench.gateway_tunnels(USER_CONNECTION)) < 1
        connect.communicate(timeout=20)
        ended = next(row for row in bench.rows("session", "list", "--past") if row["kind"] == "user")
        assert ended["end_reason"] == "blocked_by_access_policy"
        process = bench.lab.start_connect()
        assert "blocked" not in process.communicate(timeout=30)[1], "outsiders are not told"
        assert bench.attempts()[0]["reason"] == "blocked_by_access_policy"
        bench.run("policy", "access", "switch", name, "off")
        bench.disconnect(bench.connect())


def test_without_the_second_factor_refused_and_with_it_granted(bench: Bench, tmp_path: Path) -> None:
    demand = {"operator": "OR", "builtInControls": ["mfa"]}
    with policy(bench, tmp_path, state="enabled", grantControls=demand):
        bench.lab.start_connect().communicate(timeout=30)
        assert bench.attempts()[0]["reason"] == "mfa_required"
        secret = json.loads(bench.run("user", "totp", "add", USER, "--json").stdout)["secret"]
        app = pyotp.TOTP(secret)
        try:
            # The code before this one confirms, for each is taken once; it counts as long as this one does.
            wait_for("the first half of a code's time", lambda: clock.now().timestamp() % 30 < 15, seconds=20)
            at = int(clock.now().timestamp())
            bench.lab.run("user", "totp", "confirm", USER, password=app.at(at - 30))
            bench.disconnect(bench.connect(code=app.at(at)))
            certificate = next(row for row in bench.attempts() if row["kind"] == "certificate")
            shown = json.loads(bench.run("attempt", "show", certificate["id"], "--json").stdout)
            assert shown["authentication_methods"] == ["password", "totp"]
        finally:
            bench.run("user", "totp", "remove", USER)
