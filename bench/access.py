"""How long conditional access takes to decide: 100 policies, compiled once, for one sign-in."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from evertunnel.access.conditional.evaluation import evaluate_access_policies
from evertunnel.access.conditional.locations import compile_named_location
from evertunnel.access.conditional.policies import AccessPolicy, compile_access_policy
from evertunnel.access.conditional.sign_in import Known, MethodUse, Person, SignIn

POLICIES = 100
_TIMES = 5_000
_NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
_RANGES = [{"cidrAddress": f"198.18.{number}.0/25"} for number in range(200)]
_OFFICE = compile_named_location(
    {"@odata.type": "#microsoft.graph.ipNamedLocation", "id": "l", "displayName": "Office", "ipRanges": _RANGES}
)
# What policies everybody writes are about: groups, platforms, places, risk, devices; two of ten apply to the sign-in.
_CONDITIONS: Sequence[dict[str, Any]] = (
    {},
    {"users": {"includeUsers": ["All"], "excludeGroups": ["g200"]}, "locations": {"includeLocations": ["l"]}},
    {"users": {"includeGroups": ["g150"]}},
    {"users": {"includeGroups": ["g151", "g152"], "excludeUsers": ["u9"]}},
    {"users": {"includeUsers": ["All"], "excludeGroups": ["g1"]}},
    {"platforms": {"includePlatforms": ["android", "iOS"]}},
    {"signInRiskLevels": ["high"]},
    {"userRiskLevels": ["medium", "high"]},
    {"clientAppTypes": ["exchangeActiveSync", "other"]},
    {"devices": {"deviceFilter": {"mode": "include", "rule": 'device.trustType -ne "ServerAD"'}}},
)


def measure_access() -> tuple[float, float]:
    """Microseconds of CPU to decide, and with every policy's result in words as an attempt records them."""
    policies, sign_in = build_policies(), build_sign_in()
    for record in (False, True):
        began = time.process_time()
        for _ in range(_TIMES):
            found = evaluate_access_policies(policies, sign_in)
            if record:
                assert len(found.results) == POLICIES
        taken = (time.process_time() - began) / _TIMES * 1_000_000
        if not record:
            decided = taken
    assert found.refusal is None
    return decided, taken


def build_policies() -> list[AccessPolicy]:
    """A hundred, all switched on."""
    resolved = {f"g{number}": f"g{number}" for number in range(300)} | {"u9": "u9"}
    return [
        compile_access_policy(_build_document(number), resolved, locations={"l": _OFFICE}) for number in range(POLICIES)
    ]


def build_sign_in() -> SignIn:
    """Somebody in fifty groups on a compliant device with a second factor."""
    methods = (MethodUse("password", _NOW), MethodUse("softwareOath", _NOW))
    return SignIn(
        at=_NOW,
        user=Person("u1", "alice@corp.example", frozenset(f"g{number}" for number in range(50)), frozenset(), "member"),
        client_app="mobileAppsAndDesktopClients",
        platform="windows",
        address=ip_address("198.18.77.7"),
        sign_in_risk="none",
        user_risk="none",
        device={"trustType": "ServerAD"},
        compliant=Known(True, "compliance policy"),
        methods=methods,
        authenticated_at=_NOW,
    )


def _build_document(number: int) -> dict[str, Any]:
    everybody = {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["VPN"]}}
    return {
        "displayName": f"policy {number}",
        "state": "enabled",
        "conditions": everybody | _CONDITIONS[number % len(_CONDITIONS)],
        "grantControls": {"operator": "OR", "builtInControls": ["mfa", "compliantDevice"][: 1 + number % 2]},
    }
