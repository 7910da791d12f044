"""Conditional access policies that everyone writes, as documents of Graph (reference: 1.15).

Each is about the VPN and about everybody but the groups that are excluded: keep a way in for the day it goes wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.policies import State
from evertunnel.errors import NotFoundError

_PHISHING_RESISTANT = "00000000-0000-0000-0000-000000000004"
_KNOWN_PLATFORMS = ["android", "iOS", "windows", "macOS", "linux"]
_BLOCK = {"operator": "OR", "builtInControls": ["block"]}


@dataclass(frozen=True, slots=True)
class Template:
    """A template. `location` is the side a named location is put on, or None if it is not about places."""

    name: str
    title: str
    conditions: Mapping[str, Any]
    grant: Mapping[str, Any]
    location: str | None = None


TEMPLATES: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template(
            "require-compliant-device",
            "VPN: require a compliant device",
            {},
            {"operator": "OR", "builtInControls": ["compliantDevice"]},
        ),
        Template(
            "require-compliant-or-joined-device-or-mfa",
            "VPN: require a compliant or domain joined device, or a second factor",
            {},
            {"operator": "OR", "builtInControls": ["mfa", "compliantDevice", "domainJoinedDevice"]},
        ),
        Template("require-mfa", "VPN: require a second factor", {}, {"operator": "OR", "builtInControls": ["mfa"]}),
        Template(
            "require-phishing-resistant-mfa",
            "VPN: require phishing-resistant authentication",
            {},
            {"operator": "OR", "builtInControls": [], "authenticationStrength": {"id": _PHISHING_RESISTANT}},
        ),
        Template(
            "require-mfa-for-risky-sign-ins",
            "VPN: require a second factor for risky sign-ins",
            {"signInRiskLevels": ["high", "medium"]},
            {"operator": "OR", "builtInControls": ["mfa"]},
        ),
        Template(
            "require-password-change-for-risky-users",
            "VPN: require a new password of users at high risk",
            {"userRiskLevels": ["high"]},
            {"operator": "AND", "builtInControls": ["mfa", "passwordChange"]},
        ),
        Template("block-countries", "VPN: block countries", {}, _BLOCK, "includeLocations"),
        Template("block-other-countries", "VPN: block all but some countries", {}, _BLOCK, "excludeLocations"),
        Template(
            "block-legacy",
            "VPN: block legacy clients",
            {"clientAppTypes": ["exchangeActiveSync", "other"]},
            _BLOCK,
        ),
        Template(
            "block-unknown-platforms",
            "VPN: block unknown platforms",
            {"platforms": {"includePlatforms": ["all"], "excludePlatforms": _KNOWN_PLATFORMS}},
            _BLOCK,
        ),
    )
}


def get_template(name: str) -> Template:
    """A template by name; raises NotFoundError with all of them."""
    if name not in TEMPLATES:
        raise NotFoundError(f"there is no template {name!r}; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def build_from_template(
    template: Template, *, name: str = "", on: bool = False, exclude_groups: Sequence[str] = (), location: str = ""
) -> dict[str, Any]:
    """The policy, report-only unless `on`. `location` is the name of the location for one that is about places."""
    users = {"includeUsers": ["All"], "excludeGroups": list(exclude_groups)}
    conditions = {
        "users": users,
        "applications": {"includeApplications": ["VPN"]},
        "clientAppTypes": ["all"],
        **template.conditions,
    }
    if template.location is not None:
        everywhere = {"includeLocations": ["All"], "excludeLocations": []}
        conditions["locations"] = {**everywhere, template.location: [location]}
    return {
        "displayName": name or template.title,
        "state": (State.ON if on else State.REPORT_ONLY).value,
        "conditions": conditions,
        "grantControls": dict(template.grant),
    }
