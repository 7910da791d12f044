"""The conditions of a policy, in the order they are asked: who, what, from which client, from where, how risky."""

from collections.abc import Mapping
from typing import Any

from evertunnel.access.conditional.applications import read_applications
from evertunnel.access.conditional.clients import read_client_apps, read_flows, read_platforms, read_workloads
from evertunnel.access.conditional.devices import read_devices
from evertunnel.access.conditional.location_condition import read_locations
from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.risks import (
    read_insider_risk,
    read_sign_in_risk,
    read_user_risk,
    read_workload_risk,
)
from evertunnel.access.conditional.users import read_users
from evertunnel.access.conditional.verdicts import Condition, Fixed, Notes, Verdict
from evertunnel.access.documents import list_unknown, read_object

PATH = "$.conditions"
_FIELDS = (
    "users",
    "applications",
    "clientApplications",
    "clientAppTypes",
    "platforms",
    "locations",
    "signInRiskLevels",
    "userRiskLevels",
    "servicePrincipalRiskLevels",
    "insiderRiskLevels",
    "devices",
    "authenticationFlows",
)


def read_conditions(
    value: Any, resolved: Mapping[str, str], locations: Mapping[str, NamedLocation], notes: Notes
) -> tuple[Condition, ...]:
    """Read `conditions`: those that are configured. One that is not matches everything. Raises PolicyError."""
    document = read_object(value, PATH)
    found: list[Condition | None] = [
        read_users(document.get("users"), resolved, notes),
        read_applications(document.get("applications"), resolved, notes),
        read_workloads(document.get("clientApplications"), notes),
        read_client_apps(document.get("clientAppTypes")),
        read_platforms(document.get("platforms"), notes),
        read_locations(document.get("locations"), locations, notes),
        read_sign_in_risk(document.get("signInRiskLevels")),
        read_user_risk(document.get("userRiskLevels")),
        read_workload_risk(document.get("servicePrincipalRiskLevels")),
        read_insider_risk(document.get("insiderRiskLevels"), notes),
        *read_devices(document.get("devices"), notes),
        read_flows(document.get("authenticationFlows"), notes),
        *build_unknown(list_unknown(document, PATH, _FIELDS), notes),
    ]
    return tuple(condition for condition in found if condition is not None)


def build_unknown(paths: list[str], notes: Notes) -> list[Condition]:
    """Conditions that nobody here knows, each unknown for every sign-in."""
    found: list[Condition] = []
    for path in paths:
        notes.add(path, "is a condition we do not know: it counts as matching")
        text = f"{path.removeprefix('$.').removeprefix('conditions.')[:80]}: a condition we do not know"
        found.append(Fixed(Verdict(None, "invalidCondition", text)))
    return found
