"""An organisation to decide about: ten thousand users in groups, fifty policies of either kind, places and devices.

Written the way administrators write them: most policies are about somebody or something else than the login at hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from evertunnel.pki import oids

USERS = 10_000
NETWORK_POLICIES = 50
ACCESS_POLICIES = 50
# Who logs in: the first with a certificate and a device each, the next with a password and no device.
CLIENTS = 16
DEPARTMENTS = 40

STAFF, WITH_PASSWORDS, BREAK_GLASS = "Staff", "Old telephones", "Break glass"
# Our gateways, by what their policies let clients log in with; the addresses they ask from, and that method.
BY_CERTIFICATE, BY_CERTIFICATE_IN_PEAP, BY_PASSWORD_IN_PEAP = "office", "branches", "telephones"
GATEWAYS = {BY_CERTIFICATE: "127.0.0.1", BY_CERTIFICATE_IN_PEAP: "127.0.0.2", BY_PASSWORD_IN_PEAP: "127.0.0.3"}
_METHODS = {
    BY_CERTIFICATE: "eap-tls",
    BY_CERTIFICATE_IN_PEAP: "peap-eap-tls",
    BY_PASSWORD_IN_PEAP: "peap-eap-mschapv2",
}
_DENIED, _DEVICE_GROUPS, _PROJECTS = 15, 10, 22

Document = Mapping[str, Any]


def name_user(number: int) -> str:
    """Of 1 to USERS."""
    return f"user{number:05}@corp.example"


def name_device(number: int) -> str:
    """The device of one of those who log in with a certificate."""
    return f"laptop{number:05}.corp.example"


def name_department(number: int) -> str:
    """The group that a user is a member of; all of them are in STAFF."""
    return f"Department {number % DEPARTMENTS + 1}"


def list_groups() -> list[str]:
    """Every group but the departments."""
    denied = [f"Without access {number}" for number in range(_DENIED * 2)]
    devices = [f"Devices {number}" for number in range(_DEVICE_GROUPS)]
    projects = [f"Project {number}" for number in range(_PROJECTS)]
    exceptions = [_name_exceptions(number) for number in range(ACCESS_POLICIES)]
    return [STAFF, WITH_PASSWORDS, BREAK_GLASS, *denied, *devices, *projects, *exceptions]


def choose_address(number: int) -> str:
    """Where a client comes from, always from the office: another one for each number up to 25,000."""
    return f"198.18.{number // 128}.{number % 128}"


def build_locations() -> Sequence[Document]:
    """The office, a trusted one of two hundred ranges, and ten others."""
    office = [f"198.18.{number}.0/25" for number in range(200)]
    others = {f"Place {number}": [f"100.{64 + number}.{part}.0/24" for part in range(20)] for number in range(10)}
    return [_build_location("Office", office, trusted=True)] + [
        _build_location(name, ranges, trusted=False) for name, ranges in others.items()
    ]


def build_network_policies() -> Mapping[str, Document]:
    """By name, in their order. The three that grant what is measured are the last, so all are asked for most logins."""
    policies: dict[str, Document] = {}
    for number in range(_DENIED):
        groups = [f"Without access {number * 2}", f"Without access {number * 2 + 1}"]
        policies[f"Deny {number}"] = {"permission": "deny", "conditions": {"groups": groups}}
    for number in range(_DEVICE_GROUPS):
        conditions = {"tunnel": "device", "device_groups": [f"Devices {number}"]}
        policies[f"Device tunnel {number}"] = {"permission": "grant", "conditions": conditions}
    for number in range(_PROJECTS):
        gateway = list(GATEWAYS)[number % len(GATEWAYS)]
        policies[f"Project {number}"] = _build_grant(gateway, f"Project {number}", hours=4)
    for gateway in GATEWAYS:
        group = WITH_PASSWORDS if gateway == BY_PASSWORD_IN_PEAP else STAFF
        policies[f"Everybody at {gateway}"] = _build_grant(gateway, group, hours=10)
    assert len(policies) == NETWORK_POLICIES
    return policies


def build_access_policies() -> Sequence[Document]:
    """Graph's JSON, all switched on. Five to seven apply to somebody with a certificate, and are satisfied."""
    return [_build_access_policy(number) for number in range(ACCESS_POLICIES)]


def build_facts() -> str:
    """CSV for `evertunnel device import-facts`: the risk of every user, and what is known of the clients' devices."""
    properties = {
        "compliant": "true", "trustType": "ServerAD", "deviceOwnership": "Company", "manufacturer": "Contoso",
        "model": "Laptop 14", "operatingSystem": "Windows", "operatingSystemVersion": "10.0.22631",
    }  # fmt: skip
    rows = [f"{name_user(number)},,user_risk,none" for number in range(1, USERS + 1)]
    rows += [
        f",{name_device(number)},{fact},{value}"
        for number in range(1, CLIENTS + 1)
        for fact, value in properties.items()
    ]
    return "\n".join(["user,device,fact,value", *rows])


def _build_grant(gateway: str, group: str, *, hours: int) -> Document:
    method = _METHODS[gateway]
    settings: dict[str, Any] = {"authentication_methods": [method], "session_timeout_seconds": hours * 3600}
    if gateway != BY_PASSWORD_IN_PEAP:
        settings["allowed_certificate_oids"] = [oids.CONDITIONAL_ACCESS.dotted_string]
    conditions = {"tunnel": "user", "user_groups": [group], "gateways": [gateway]}
    return {"permission": "grant", "conditions": conditions, "settings": settings}


def _build_location(name: str, ranges: Sequence[str], *, trusted: bool) -> Document:
    return {
        "@odata.type": "#microsoft.graph.ipNamedLocation",
        "displayName": name,
        "isTrusted": trusted,
        "ipRanges": [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": each} for each in ranges],
    }


def _build_access_policy(number: int) -> Document:
    """One of ten kinds. No two are alike: each has exceptions of its own."""
    users, conditions, controls = _choose_conditions(number % 10, number // 10)
    excluded = [*users.get("excludeGroups", ()), BREAK_GLASS, _name_exceptions(number)]
    return {
        "displayName": f"Policy {number}",
        "state": "enabled",
        "conditions": {
            "users": {**users, "excludeGroups": excluded},
            "applications": {"includeApplications": ["VPN"]},
            "clientAppTypes": ["all"],
            **conditions,
        },
        "grantControls": {"operator": "OR", "builtInControls": controls},
    }


def _name_exceptions(number: int) -> str:
    return f"Exceptions of policy {number}"


def _choose_conditions(kind: int, variant: int) -> tuple[Mapping[str, Sequence[str]], Document, Sequence[str]]:
    """Whom a policy is about, when, and what it demands. `variant` is 0 to 4."""
    everybody = {"includeUsers": ["All"]}
    by_certificate = {"includeUsers": ["All"], "excludeGroups": [WITH_PASSWORDS]}
    departments = {"includeGroups": [name_department(variant * 3 + part) for part in range(3)]}
    systems = ["android", "iOS", "linux", "macOS", "windowsPhone"]
    match kind:
        case 0:
            return by_certificate, {}, ["compliantDevice"]
        case 1:
            return departments, {}, ["mfa", "compliantDevice", "domainJoinedDevice"]
        case 2:
            places = {"includeLocations": ["All"], "excludeLocations": ["Office", f"Place {variant}"]}
            return everybody, {"locations": places}, ["mfa"]
        case 3:
            return everybody, {"locations": {"includeLocations": [f"Place {variant}"]}}, ["block"]
        case 4:
            return departments, {"platforms": {"includePlatforms": systems[:2]}}, ["block"]
        case 5:
            platforms = {"includePlatforms": ["all"], "excludePlatforms": ["windows", systems[variant]]}
            return by_certificate, {"platforms": platforms}, ["block"]
        case 6:
            rule = f'device.deviceOwnership -eq "Personal" -and device.model -startsWith "Tablet {variant}"'
            return by_certificate, {"devices": _build_filter("include", rule)}, ["mfa"]
        case 7:
            joined = '(device.trustType -eq "AzureAD" -or device.trustType -eq "ServerAD")'
            rule = f'{joined} -and device.isCompliant -eq True -and device.manufacturer -ne "Maker {variant}"'
            return by_certificate, {"devices": _build_filter("exclude", rule)}, ["block"]
        case 8:
            return everybody, {"userRiskLevels": ["medium", "high"]}, ["block"]
        case _:
            return everybody, {"clientAppTypes": ["exchangeActiveSync", "other"]}, ["block"]


def _build_filter(mode: str, rule: str) -> Document:
    return {"deviceFilter": {"mode": mode, "rule": rule}}
