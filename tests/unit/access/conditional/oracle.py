"""A second evaluator: slow, from tables, over the documents themselves. It shares no code with the engine.

It knows true and false only. Where a fact is unknown it tries every world the fact could be in: a condition may apply
if it holds in some world, applies for certain if it holds in all, and excludes only if it excludes in all.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

Facts = Mapping[str, Any]
Side = Callable[[Mapping[str, Any], Facts], bool]

GUESTS = ["internalGuest", "b2bCollaborationGuest", "b2bCollaborationMember", "b2bDirectConnectUser",
          "otherExternalUser", "serviceProvider"]  # fmt: skip
PLACES: dict[str, tuple[bool, list[str], list[str], bool]] = {
    # id: trusted, networks, countries, unknown countries too
    "office": (True, ["192.0.2.0/24", "2001:db8::/32"], [], False),
    "branch": (False, ["198.51.100.0/24"], [], False),
    "home": (False, [], ["DE", "AT"], False),
    "abroad": (False, [], ["FR"], True),
    "network": (False, [], [], False),
}
RULES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    'device.model -eq "X1"': lambda device: device.get("model") == "X1",
    'device.model -ne "X1" -and device.isCompliant -ne True': lambda device: (
        device.get("model") != "X1" and device.get("isCompliant") is not True
    ),
    '-not (device.trustType -eq "ServerAD" -or device.trustType -eq "AzureAD")': lambda device: (
        device.get("trustType") not in ("ServerAD", "AzureAD")
    ),
}
# What each unknown fact could be; the last is something that no policy names.
WORLDS: dict[str, list[Any]] = {
    "roles": [["r1"], ["r2"], ["r1", "r2"], []],
    "kind": [*GUESTS, "member"],
    "tenant": ["t1", "t2", "elsewhere"],
    "client_app": ["browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "easSupported", "other", "?"],
    "address": [ip_address(text) for text in ("192.0.2.1", "198.51.100.1", "203.0.113.1")],
    "country": ["DE", "AT", "FR", "", "??"],
    "network": [True, False],
    "sign_in_risk": ["low", "medium", "high", "hidden", "none", "?"],
    "user_risk": ["low", "medium", "high", "hidden", "none", "?"],
    "insider_risk": ["minor", "moderate", "elevated", "none", "?"],
    "transfer_method": ["deviceCodeFlow", "authenticationTransfer", "none"],
    "future": [True, False],
    "compliant": [True, False],
    "platform": ["windows", "linux", "macOS", "?"],
    "domain_joined": [True, False],
}
DEVICE_WORLDS: dict[str, list[Any]] = {
    "model": ["X1", "other"], "trustType": ["ServerAD", "AzureAD", "Workplace"], "isCompliant": [True, False],
}  # fmt: skip


# From the least to the most trusted.
SOURCES = ["device", "import", "mdm", "administrator"]


def believe(facts: Facts, least: str | None) -> Facts:
    """The facts with what weaker sources say taken away. Bad news is believed of anybody."""
    if least is None:
        return facts
    weak = [name for name, source in facts["sources"].items() if SOURCES.index(source) < SOURCES.index(least)]
    changed = {**facts, "believed": True}
    for name in weak:
        if name == "device":
            changed["device"] = None if facts["device"] is None else {}
        elif facts[name] not in (False, "high"):
            changed[name] = None
    return changed


def list_worlds(facts: Facts, names: list[str]) -> Iterator[Facts]:
    """Every way the unknown ones of these facts could be."""
    disputed = facts.get("platform") == "disputed"
    # Elsewhere a platform nobody tells is one that no word names.
    if ("believed" in facts or disputed) and names == ["future"]:
        names = ["future", "platform"]
    names = [name for name in names if facts.get(name) in (None, "disputed")]
    for values in product(*(WORLDS[name] for name in names)):
        yield {**facts, **dict(zip(names, values, strict=True))}


def list_device_worlds(facts: Facts, rule: str) -> Iterator[Facts]:
    device = facts["device"]
    missing = [
        name for name in DEVICE_WORLDS if f"device.{name} " in rule and device is not None and name not in device
    ]
    for values in product(*(DEVICE_WORLDS[name] for name in missing)):
        yield {**facts, "device": {**(device or {}), **dict(zip(missing, values, strict=True))}}


def is_guest(wanted: Mapping[str, Any] | None, facts: Facts) -> bool:
    if not wanted or facts["kind"] not in wanted["guestOrExternalUserTypes"].split(","):
        return False
    tenants = wanted.get("externalTenants") or {"membershipKind": "all"}
    return tenants["membershipKind"] == "all" or facts["tenant"] in tenants["members"]


def is_somebody(side: str) -> Side:
    def test(users: Mapping[str, Any], facts: Facts) -> bool:
        people = users.get(f"{side}Users", [])
        return (
            "All" in people
            or facts["user"] in people
            or ("GuestsOrExternalUsers" in people and facts["kind"] != "member")
            or any(group in facts["groups"] for group in users.get(f"{side}Groups", []))
            or any(role in facts["roles"] for role in users.get(f"{side}Roles", []))
            or is_guest(users.get(f"{side}GuestsOrExternalUsers"), facts)
        )

    return test


def is_vpn(side: str) -> Side:
    words = ("All", "VPN", "Evertunnel")
    return lambda applications, _facts: any(word in applications.get(f"{side}Applications", []) for word in words)


def is_platform(side: str) -> Side:
    return lambda platforms, facts: any(
        word in ("all", facts["platform"]) for word in platforms.get(f"{side}Platforms", [])
    )


def is_in(place: str, facts: Facts) -> bool:
    _trusted, networks, countries, unknown = PLACES[place]
    if place == "network":
        return bool(facts["network"])
    if networks:
        return any(facts["address"] in ip_network(text) for text in networks)
    return facts["country"] in countries or (unknown and facts["country"] == "")


def is_there(side: str) -> Side:
    def test(locations: Mapping[str, Any], facts: Facts) -> bool:
        named = locations.get(f"{side}Locations", [])
        trusted = [place for place, entry in PLACES.items() if entry[0]] if "AllTrusted" in named else []
        return "All" in named or any(is_in(place, facts) for place in [*named, *trusted] if place in PLACES)

    return test


def has_future(side: str) -> Side:
    """A field nobody knows, of the side that its name tells."""
    return lambda part, facts: f"{side}Future" in part and facts["future"]


def never(_part: Any, _facts: Facts) -> bool:
    return False


def is_client(kinds: Any, facts: Facts) -> bool:
    client = facts["client_app"]
    return "all" in kinds or client in kinds or (client == "easSupported" and "exchangeActiveSync" in kinds)


# Condition, facts it may not know, whether it includes, whether it excludes.
TABLE: list[tuple[str, list[str], Side, Side]] = [
    ("users", ["roles", "kind", "tenant"], is_somebody("include"), is_somebody("exclude")),
    ("applications", [], is_vpn("include"), is_vpn("exclude")),
    ("clientApplications", [], never, never),
    ("clientAppTypes", ["client_app"], is_client, never),
    ("platforms", ["future"],
     lambda part, facts: is_platform("include")(part, facts) or has_future("include")(part, facts),
     is_platform("exclude")),
    ("locations", ["address", "country", "network"], is_there("include"), is_there("exclude")),
    ("signInRiskLevels", ["sign_in_risk"], lambda levels, facts: facts["sign_in_risk"] in levels, never),
    ("userRiskLevels", ["user_risk"], lambda levels, facts: facts["user_risk"] in levels, never),
    ("insiderRiskLevels", ["insider_risk"], lambda text, facts: facts["insider_risk"] in text.split(","), never),
    ("servicePrincipalRiskLevels", [], never, never),
    ("authenticationFlows", ["transfer_method"],
     lambda part, facts: facts["transfer_method"] in part["transferMethods"].split(","), never),
    ("times", ["future"], lambda _part, facts: facts["future"], never),
]  # fmt: skip


def find_applicability(document: Mapping[str, Any], facts: Facts) -> str:
    """yes, no or maybe."""
    if facts["user"] is None:
        return "no"
    maybe = False
    for name, unknown, include, exclude in TABLE:
        part = document["conditions"].get(name)
        if not part:
            continue
        worlds = list(list_worlds(facts, unknown))
        if all(exclude(part, world) for world in worlds) or not any(include(part, world) for world in worlds):
            return "no"
        maybe |= not all(include(part, world) for world in worlds)
    devices = (document["conditions"].get("devices") or {}).get("deviceFilter")
    if devices:
        answers = [RULES[devices["rule"]](world["device"]) for world in list_device_worlds(facts, devices["rule"])]
        certain = len(answers) == 1
        if devices["mode"] == "exclude":
            return "no" if certain and answers[0] else "maybe" if maybe else "yes"
        if certain and not answers[0]:
            return "no"
        maybe |= not certain
    return "maybe" if maybe else "yes"


STRONG = {"windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor"}
SECONDS = {"microsoftAuthenticatorPush", "softwareOath", "hardwareOath", "sms", "voice"}
ALONE = STRONG | {
    "deviceBasedPush",
    "temporaryAccessPassOneTime",
    "temporaryAccessPassMultiUse",
    "federatedMultiFactor",
}


def has_second_factor(facts: Facts) -> bool:
    used = {name for name, _at in facts["methods"]}
    with_password = SECONDS | {"x509CertificateSingleFactor", "x509CertificateMultiFactor"}
    return bool(
        used & ALONE
        or ("password" in used and used & with_password)
        or ("federatedSingleFactor" in used and used & SECONDS)
    )


def is_strong(wanted: str, facts: Facts) -> bool:
    used = {name for name, _at in facts["methods"]}
    return bool(
        {
            "00000000-0000-0000-0000-000000000002": has_second_factor(facts),
            "00000000-0000-0000-0000-000000000003": used & (STRONG | {"deviceBasedPush"}),
            "00000000-0000-0000-0000-000000000004": used & STRONG,
            "custom": "hardwareOath" in used and "password" in used,
        }[wanted]
    )


# Control: code, reason, whether a prompt could meet it, whether it is met. In the order Entra asks.
CONTROLS: list[tuple[str, int, str, bool, Callable[[Any, Facts], bool]]] = [
    ("mfa", 50076, "mfa_required", True, lambda _value, facts: has_second_factor(facts)),
    ("authenticationStrength", 50074, "authentication_too_weak", True,
     lambda value, facts: is_strong(value["id"], facts)),
    ("compliantDevice", 53000, "device_not_compliant", False,
     lambda _value, facts: all(world["compliant"] for world in list_worlds(facts, ["compliant"]))),
    ("domainJoinedDevice", 53001, "device_not_domain_joined", False,
     lambda _value, facts: all(world["domain_joined"] for world in list_worlds(facts, ["domain_joined"]))),
    ("approvedApplication", 53002, "access_control_unknown", False, never),
    ("compliantApplication", 53009, "access_control_unknown", False, never),
    ("passwordChange", 50135, "password_change_required", True,
     lambda _value, facts: facts["password_changed"] is True),
    ("termsOfUse", 50158, "terms_of_use_not_accepted", True, lambda value, facts: value in facts["terms_accepted"]),
    ("customAuthenticationFactors", 50158, "access_control_unknown", False, never),
    ("riskRemediation", 50131, "access_control_unknown", False, never),
    ("deviceTunnel", 50131, "device_tunnel_not_up", False,
     lambda _value, facts: not facts["tunnel"] or facts["own_tunnel"] is True),
    ("future", 50131, "access_control_unknown", False, never),
]  # fmt: skip
UNKNOWN_CONTROLS = {row[0] for row in CONTROLS if row[2] == "access_control_unknown"}


def list_demands(grant: Mapping[str, Any]) -> list[tuple[int, str, Any]]:
    """Place in the table, control, value."""
    found = []
    for place, row in enumerate(CONTROLS):
        name = row[0]
        if name in grant.get("builtInControls", []):
            found.append((place, name, None))
        elif grant.get(name):
            values = grant[name] if isinstance(grant[name], list) else [grant[name]]
            found += [(place, name, value) for value in values]
    return found


def find_deadline(control: Mapping[str, Any], facts: Facts) -> datetime | None:
    """When the sign-in is too old; the beginning of time when nothing is known."""
    every_time = control["frequencyInterval"] == "everyTime"
    if every_time and facts["established"]:
        return None
    second = [at for name, at in facts["methods"] if name not in ("password", "federatedSingleFactor")]
    if control["authenticationType"] == "secondaryAuthentication":
        since = max(second) if second else None
    elif facts["authenticated_at"] is None:
        since = None
    else:
        since = min([facts["authenticated_at"], *([max(second)] if second else [])])
    if since is None or since > facts["at"] + timedelta(minutes=5):
        return datetime.min.replace(tzinfo=facts["at"].tzinfo)
    life = timedelta(minutes=5) if every_time else timedelta(**{control["type"]: control["value"]})
    return min(since, facts["at"]) + life  # type: ignore[no-any-return]


def evaluate(documents: list[Mapping[str, Any]], facts: Facts) -> dict[str, Any]:
    """Words, what is missing, the code, the reason, the bound, how many vouch."""
    words: list[str] = []
    missing: list[tuple[int, str, int, str]] = []
    bounds: list[float] = []
    blocked, vouching, applying = False, 0, 0
    for document in documents:
        state = document["state"]
        on = state == "enabled"
        ours = document.get("evertunnel") or {}
        seen = believe(facts, ours.get("leastSource"))
        applies = "no" if state == "disabled" else find_applicability(document, seen)
        if applies == "no":
            words.append("notEnabled" if state == "disabled" else "notApplied" if on else "reportOnlyNotApplied")
            continue
        grant = dict(document["grantControls"] or {})
        if ours.get("requireDeviceTunnel"):
            grant["deviceTunnel"] = True
        blocks = "block" in grant.get("builtInControls", [])
        demands = [] if blocks else list_demands(grant)
        legacy = facts["client_app"] == "other"
        unmet = [demand for demand in demands if legacy or not CONTROLS[demand[0]][4](demand[2], seen)]
        any_of = grant.get("operator") == "OR"
        if any_of and len(unmet) < len(demands):
            unmet = []
        prompts = [CONTROLS[place][3] for place, _name, _value in unmet]
        prompting = (any if any_of and unmet else all)(prompts) and not blocks
        frequency = ((document.get("sessionControls") or {}).get("signInFrequency")) or {"isEnabled": False}
        late = False
        if frequency["isEnabled"] and not blocks:
            deadline = find_deadline(frequency, facts)
            left = None if deadline is None else int((deadline - facts["at"]).total_seconds())
            late = left is not None and left <= 0
            unbound = frequency["frequencyInterval"] == "everyTime" and facts["tunnel"]
            if on and left is not None and not late and not unbound:
                bounds.append(left)
        failed = blocks or bool(unmet) or late
        if on:
            applying += 1
            blocked |= blocks
            words.append("failure" if failed else "success" if applies == "yes" else "unknown")
            vouching += bool(grant) and not failed and applies == "yes"
            if late:
                second = frequency["authenticationType"] == "secondaryAuthentication"
                missing.append((-1, "signInFrequency", 50078 if second else 70043, "sign_in_too_old"))
            chosen = unmet
            if any_of and unmet:
                chosen = [min(unmet, key=lambda demand: (demand[1] in UNKNOWN_CONTROLS, demand[0]))]
            missing += [(place, name, CONTROLS[place][1], CONTROLS[place][2]) for place, name, _value in chosen]
        elif failed:
            words.append("reportOnlyInterrupted" if prompting else "reportOnlyFailure")
        else:
            words.append("reportOnlySuccess")
    # The two that ask for a second factor are one place in Entra's order: whichever policy stands first.
    missing.sort(key=lambda row: max(row[0], 1) if row[0] >= 0 else row[0])
    code, reason = (53003, "blocked_by_access_policy") if blocked else missing[0][2:] if missing else (0, None)
    return {
        "words": words, "missing": sorted({row[1] for row in missing}), "code": code, "reason": reason,
        "lifetime": min(bounds, default=None), "vouching": vouching,
        "status": "failure" if code else "success" if applying else "notApplied",
    }  # fmt: skip
