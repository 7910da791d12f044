"""Random policies and sign-ins from a few words, so that they meet. `choose` takes one of several."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from evertunnel.access.conditional.sign_in import DISPUTED, Known, MethodUse, Person, SignIn
from tests.unit.access.conditional.oracle import GUESTS, PLACES, RULES, SOURCES
from tests.unit.access.samples import NOW

Choose = Callable[[Sequence[Any]], Any]

RESOLVED = {"u1": "u1", "u2": "u2", "g1": "g1", "g2": "g2"}
BUILT_IN = ["mfa", "compliantDevice", "domainJoinedDevice", "passwordChange", "approvedApplication",
            "compliantApplication", "riskRemediation"]  # fmt: skip
METHODS = ["password", "sms", "fido2", "hardwareOath", "deviceBasedPush", "x509CertificateSingleFactor",
           "federatedSingleFactor", "federatedMultiFactor", "email"]  # fmt: skip
# What somebody tells of a sign-in.
TOLD = ["platform", "sign_in_risk", "user_risk", "compliant", "domain_joined", "device"]
RISKS = ["low", "medium", "high", "hidden", "none"]
TIMES = [None, *(NOW - timedelta(seconds=age) for age in (0, 299, 300, 301, 3599, 3600, 3601, 90_000, -200, -400))]


def some(choose: Choose, words: Sequence[Any], most: int = 2) -> list[Any]:
    """Up to so many of them, each once."""
    return list(dict.fromkeys(choose(words) for _ in range(choose(range(most + 1)))))


def one_or_more(choose: Choose, words: Sequence[Any], most: int = 2) -> list[Any]:
    return list(dict.fromkeys([choose(words), *some(choose, words, most - 1)]))


def make_guests(choose: Choose) -> dict[str, Any]:
    tenants = choose([None, {"membershipKind": "all"}, {"membershipKind": "enumerated", "members": ["t1"]}])
    return {"guestOrExternalUserTypes": ",".join(one_or_more(choose, GUESTS, 3)), "externalTenants": tenants}


def make_users(choose: Choose) -> dict[str, Any]:
    users = {
        "includeUsers": choose(
            [["All"], ["All"], ["All"], ["All"], ["u1"], ["u2"], ["None"], ["GuestsOrExternalUsers"]]
        )
    }
    for name, words in (("Users", ["u1", "u2", "All", "GuestsOrExternalUsers"]), ("Groups", ["g1", "g2"]),
                        ("Roles", ["r1", "r2"])):  # fmt: skip
        if name != "Users" and choose(range(3)) == 0:
            users[f"include{name}"] = some(choose, words)
        if choose(range(8)) == 0:
            users[f"exclude{name}"] = some(choose, words)
    for side in ("include", "exclude"):
        if choose(range(8)) == 0:
            users[f"{side}GuestsOrExternalUsers"] = make_guests(choose)
    return users


def make_filter(choose: Choose) -> dict[str, Any]:
    return {"deviceFilter": {"mode": choose(["include", "exclude"]), "rule": choose(list(RULES))}}


PARTS: dict[str, Callable[[Choose], Any]] = {
    "clientApplications": lambda choose: choose([None, None, None, {"includeServicePrincipals": ["x"]}]),
    "clientAppTypes": lambda choose: one_or_more(
        choose, ["all", "browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "other"]
    ),
    "platforms": lambda choose: {
        "includePlatforms": one_or_more(choose, ["all", "windows", "linux"]),
        "excludePlatforms": some(choose, ["windows", "macOS"]),
        **choose([{}, {}, {"includeFuture": ["x"]}, {"excludeFuture": ["x"]}]),
    },
    "locations": lambda choose: {
        "includeLocations": one_or_more(choose, ["All", "AllTrusted", *PLACES]),
        "excludeLocations": some(choose, ["AllTrusted", *PLACES]),
    },
    "signInRiskLevels": lambda choose: some(choose, RISKS, 3),
    "userRiskLevels": lambda choose: some(choose, RISKS, 3),
    "insiderRiskLevels": lambda choose: choose([None, "minor", "moderate,elevated"]),
    "servicePrincipalRiskLevels": lambda choose: choose([[], [], [], ["high"]]),
    "devices": make_filter,
    "authenticationFlows": lambda choose: {"transferMethods": choose(["deviceCodeFlow", "none,deviceCodeFlow"])},
    "times": lambda choose: choose([None, {"x": 1}]),
}


def make_grant(choose: Choose) -> dict[str, Any]:
    grant: dict[str, Any] = {
        "operator": choose(["AND", "OR"]),
        "builtInControls": one_or_more(choose, [*BUILT_IN[:4], *BUILT_IN], 3),
        "termsOfUse": some(choose, ["t1", "t2"]) if choose(range(4)) == 0 else [],
        "customAuthenticationFactors": ["f"] if choose(range(15)) == 0 else [],
    }
    if choose(range(4)) == 0:
        ids = [f"00000000-0000-0000-0000-{number:012}" for number in (2, 3, 4)]
        custom = {"id": "custom", "displayName": "custom", "allowedCombinations": ["password,hardwareOath"]}
        grant["authenticationStrength"] = choose([custom, *({"id": each} for each in ids)])
    if choose(range(15)) == 0:
        grant["future"] = ["x"]
    return choose([grant, grant, grant, {"operator": "OR", "builtInControls": ["block"]}])  # type: ignore[no-any-return]


def make_frequency(choose: Choose) -> dict[str, Any]:
    return {
        "isEnabled": choose([True, True, False]),
        "frequencyInterval": choose(["timeBased", "timeBased", "everyTime"]),
        "type": choose(["hours", "days"]),
        "value": choose([1, 2, 30]),
        "authenticationType": choose(["primaryAndSecondaryAuthentication", "secondaryAuthentication"]),
    }


def make_policy(choose: Choose, name: str) -> dict[str, Any]:
    """A policy as Graph could write it, few of its conditions configured."""
    applications = choose([["All"], ["VPN"], ["VPN"], ["Evertunnel"], ["Office365", "VPN"], ["None"]])
    conditions = {
        "users": make_users(choose),
        "applications": {
            "includeApplications": applications,
            "excludeApplications": choose([[], [], [], [], [], [], [], ["VPN"]]),
        },
    }
    for _ in range(choose(range(4))):
        part = choose(list(PARTS))
        conditions[part] = PARTS[part](choose)
    session = {"signInFrequency": make_frequency(choose)} if choose(range(3)) == 0 else None
    grant = make_grant(choose) if session is None or choose(range(4)) else None
    ours: dict[str, Any] = {}
    if choose(range(3)) == 0:
        ours["leastSource"] = choose([None, *SOURCES])
    if choose(range(5)) == 0 and "block" not in (grant or {}).get("builtInControls", ()):
        ours["requireDeviceTunnel"] = choose([True, True, False])
    return {
        "displayName": name,
        "state": choose(["enabled", "enabled", "enabled", "enabledForReportingButNotEnforced", "disabled"]),
        "conditions": conditions,
        "grantControls": grant,
        "sessionControls": session,
        "evertunnel": ours or None,
    }


def make_facts(choose: Choose) -> dict[str, Any]:
    """What is known of a sign-in, for the oracle."""
    device = choose([
        None, {"model": "X1", "trustType": "ServerAD", "isCompliant": True}, {"model": None, "isCompliant": False},
        {"model": "Y", "trustType": None, "isCompliant": None}, {},
    ])  # fmt: skip
    methods = [(name, choose(TIMES[1:])) for name in some(choose, METHODS, 3)]
    return {
        "at": NOW,
        "user": choose(["u1", "u1", "u1", "u1", "u1", None]),
        "groups": some(choose, ["g1", "g2"]),
        "roles": choose([None, [], ["r1"], ["r1", "r2"]]),
        "kind": choose([None, "member", "member", *GUESTS[:3]]),
        "tenant": choose([None, "t1", "t2"]),
        "client_app": choose([None, "browser", *["mobileAppsAndDesktopClients"] * 4, "easSupported", "other"]),
        "platform": choose([None, "windows", "linux", "macOS", DISPUTED]),
        "address": choose([None, *map(ip_address, ("192.0.2.7", "198.51.100.255", "203.0.113.9", "2001:db8::1"))]),
        "country": choose([None, "DE", "FR", "US", ""]),
        "sign_in_risk": choose([None, *RISKS]),
        "user_risk": choose([None, *RISKS]),
        "insider_risk": choose([None, "none", "minor", "elevated"]),
        "transfer_method": choose([None, "none", "none", "deviceCodeFlow"]),
        "device": device,
        "compliant": choose([None, True, True, False]),
        "domain_joined": choose([None, True, True, False]),
        "methods": methods,
        "terms_accepted": choose([["t1", "t2"], ["t1"], []]),
        "password_changed": choose([None, True, False]),
        "authenticated_at": choose(TIMES),
        "tunnel": choose([True, False]),
        "established": choose([True, False, False]),
        "own_tunnel": choose([None, True, False]),
        "sources": {name: choose(SOURCES) for name in TOLD},
    }


def build_sign_in(facts: Mapping[str, Any]) -> SignIn:
    """The same, for the engine."""
    taken = {name: facts[name] for name in SignIn.__slots__ if name in facts}
    roles = facts["roles"]
    person = Person("u1", "u1", frozenset(facts["groups"]), None if roles is None else frozenset(roles), facts["kind"],
                    facts["tenant"])  # fmt: skip
    times: list[tuple[str, datetime]] = facts["methods"]
    return SignIn(**taken | {
        "user": person if facts["user"] else None,
        "compliant": Known(facts["compliant"], "test"),
        "domain_joined": Known(facts["domain_joined"], "test"),
        "own_tunnel": Known(facts["own_tunnel"], "test"),
        "told_by": lambda least: _tell_by(facts, least),
        "methods": tuple(MethodUse(name, at) for name, at in times),
        "terms_accepted": frozenset(facts["terms_accepted"]),
    })  # fmt: skip


def _tell_by(facts: Mapping[str, Any], least: str) -> dict[str, Any]:
    """What is left of a sign-in when only such a source counts."""
    left: dict[str, Any] = {}
    for name in TOLD:
        value = facts[name]
        if SOURCES.index(facts["sources"][name]) < SOURCES.index(least):
            weak = {"device": None if value is None else {}}.get(name)
            value = value if value in (False, "high") else weak
        left[name] = Known(value, "test") if name in ("compliant", "domain_joined") else value
    return left
