"""Reading a conditionalAccessPolicy (Graph v1.0). What cannot be evaluated yet is refused with its JSON path.

Fields that carry no condition (ids, names, dates, OData annotations) are kept as they are and have no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from evertunnel.access.documents import PolicyError, read_object, read_text, read_texts

# The application our tunnels are. "VPN Server" is what Entra names the service principal of its VPN certificates.
APPLICATIONS = frozenset({"evertunnel", "vpn", "vpn server"})
# Words of Graph that can only mean other applications. An id could be anybody's, ours in Entra included.
_OTHER_APPLICATIONS = frozenset({"none", "office365", "microsoftadminportals"})
_INERT = (
    "id",
    "displayName",
    "description",
    "templateId",
    "createdDateTime",
    "modifiedDateTime",
    "deletedDateTime",
)
_USER_FIELDS = ("includeUsers", "excludeUsers", "includeGroups", "excludeGroups")
_CONTROLS = ("block", "compliantDevice")


class State(StrEnum):
    """Whether a policy counts."""

    ON = "enabled"
    OFF = "disabled"
    REPORT_ONLY = "enabledForReportingButNotEnforced"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """A compiled policy. Sets hold ids; `all_users` is the word All."""

    name: str
    state: State
    all_users: bool
    include_users: frozenset[str]
    include_groups: frozenset[str]
    exclude_users: frozenset[str]
    exclude_groups: frozenset[str]
    excludes_all_users: bool
    applies_to_tunnels: bool
    require_all: bool
    controls: tuple[str, ...]


def compile_access_policy(document: Any, resolved: Mapping[str, str]) -> AccessPolicy:
    """Read a policy. `resolved` maps every user and group it names to an id. Raises PolicyError."""
    policy = read_object(document, "$")
    _refuse_unless_empty(policy, "$", (*_INERT, "state", "conditions", "grantControls"))
    name = read_text(policy.get("displayName"), "$.displayName")
    state = State(read_text(policy.get("state"), "$.state", choices=[state.value for state in State]))
    conditions = read_object(policy.get("conditions"), "$.conditions")
    _refuse_unless_empty(conditions, "$.conditions", ("users", "applications", "clientAppTypes"))
    users = read_object(conditions.get("users"), "$.conditions.users")
    _refuse_unless_empty(users, "$.conditions.users", _USER_FIELDS)
    include_users = read_texts(users.get("includeUsers"), "$.conditions.users.includeUsers")
    exclude_users = read_texts(users.get("excludeUsers"), "$.conditions.users.excludeUsers")
    include_groups = read_texts(users.get("includeGroups"), "$.conditions.users.includeGroups")
    exclude_groups = read_texts(users.get("excludeGroups"), "$.conditions.users.excludeGroups")
    if not include_users and not include_groups:
        raise PolicyError("$.conditions.users", "names nobody: set includeUsers or includeGroups")
    client_apps = read_texts(conditions.get("clientAppTypes"), "$.conditions.clientAppTypes")
    if client_apps and "all" not in client_apps:
        raise PolicyError("$.conditions.clientAppTypes", "only ['all'] can be evaluated so far")
    operator, controls = _read_grant_controls(policy.get("grantControls"))
    return AccessPolicy(
        name=name,
        state=state,
        all_users="All" in include_users,
        include_users=_resolve(include_users, resolved, "$.conditions.users.includeUsers"),
        include_groups=_resolve(include_groups, resolved, "$.conditions.users.includeGroups"),
        exclude_users=_resolve(exclude_users, resolved, "$.conditions.users.excludeUsers"),
        exclude_groups=_resolve(exclude_groups, resolved, "$.conditions.users.excludeGroups"),
        excludes_all_users="All" in exclude_users,
        applies_to_tunnels=_applies_to_tunnels(conditions.get("applications")),
        require_all=operator == "AND",
        controls=controls,
    )


def list_references(document: Any) -> list[tuple[str, str, str]]:
    """Every user and group a policy names, as (path, kind, text), for the caller to resolve."""
    policy = read_object(document, "$")
    conditions = read_object(policy.get("conditions"), "$.conditions")
    users = read_object(conditions.get("users"), "$.conditions.users")
    found = []
    for field in _USER_FIELDS:
        path = f"$.conditions.users.{field}"
        kind = "group" if field.endswith("Groups") else "user"
        for index, text in enumerate(read_texts(users.get(field), path)):
            if kind == "user" and text in ("All", "None"):
                continue
            found.append((f"{path}[{index}]", kind, text))
    return found


def _read_grant_controls(value: Any) -> tuple[str, tuple[str, ...]]:
    path = "$.grantControls"
    grant = read_object(value, path)
    _refuse_unless_empty(grant, path, ("operator", "builtInControls"))
    controls = read_texts(grant.get("builtInControls"), f"{path}.builtInControls")
    if not controls:
        raise PolicyError(f"{path}.builtInControls", "demands nothing: name at least one control")
    for index, control in enumerate(controls):
        if control not in _CONTROLS:
            raise PolicyError(
                f"{path}.builtInControls[{index}]",
                f"{control!r} cannot be evaluated yet; known are {', '.join(_CONTROLS)}",
            )
    if "block" in controls and len(controls) > 1:
        raise PolicyError(f"{path}.builtInControls", "block stands alone")
    operator = "OR" if len(controls) == 1 and grant.get("operator") is None else grant.get("operator")
    return read_text(operator, f"{path}.operator", choices=("AND", "OR")), controls


def _applies_to_tunnels(value: Any) -> bool:
    path = "$.conditions.applications"
    applications = read_object(value, path)
    _refuse_unless_empty(applications, path, ("includeApplications", "excludeApplications"))
    texts = read_texts(applications.get("includeApplications"), f"{path}.includeApplications")
    include = {text.lower() for text in texts}
    exclude = {
        text.lower() for text in read_texts(applications.get("excludeApplications"), f"{path}.excludeApplications")
    }
    if not include:
        raise PolicyError(f"{path}.includeApplications", 'names no application: use ["All"] or ["VPN"]')
    wanted = APPLICATIONS | {"all"}
    for index, text in enumerate(texts if not include & wanted else ()):
        if text.lower() not in _OTHER_APPLICATIONS:
            # Taken for another application, a policy that blocks the VPN would silently block nothing.
            problem = (
                f"{text!r} is an application we do not know: write VPN if it is the VPN, else leave the policy out"
            )
            raise PolicyError(f"{path}.includeApplications[{index}]", problem)
    return bool(include & wanted) and not exclude & wanted


def _resolve(texts: tuple[str, ...], resolved: Mapping[str, str], path: str) -> frozenset[str]:
    ids = set()
    for index, text in enumerate(texts):
        if path.endswith("Users") and text in ("All", "None"):
            continue
        if text not in resolved:
            raise PolicyError(f"{path}[{index}]", f"{text!r} is neither the id nor the name of one we know")
        ids.add(resolved[text])
    return frozenset(ids)


def _refuse_unless_empty(document: Mapping[str, Any], path: str, known: tuple[str, ...]) -> None:
    """Everything set that we do not evaluate would be a condition silently dropped: refuse it."""
    for key, value in document.items():
        if key in known or "@odata" in key or value is None or value is False or value in ([], {}, ""):
            continue
        raise PolicyError(f"{path}.{key}", "cannot be evaluated yet; remove it or leave the policy out")
