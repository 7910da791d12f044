"""Reading a conditionalAccessPolicy (Graph v1.0), the whole object. Wrong types and words are refused with their path.

What cannot be evaluated is read all the same and listed, so that import can say it: a condition of that kind counts as
met where that restricts, a control of that kind is never met. Fields that carry no condition (ids, names, dates, OData
annotations) have no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from evertunnel.access.conditional import location_condition, users
from evertunnel.access.conditional.applications import Applications
from evertunnel.access.conditional.conditions import build_unknown, read_conditions
from evertunnel.access.conditional.extension import NAME as EXTENSION
from evertunnel.access.conditional.extension import limit_conditions, limit_control, read_extension
from evertunnel.access.conditional.grant_controls import PATH as GRANT_PATH
from evertunnel.access.conditional.grant_controls import GrantControls, read_grant_controls
from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.session_controls import SessionControls, read_session_controls
from evertunnel.access.conditional.strengths import BUILT_IN, AuthenticationStrength
from evertunnel.access.conditional.users import Users
from evertunnel.access.conditional.verdicts import MATCHES, OFF, Condition, Fixed, Notes, Verdict
from evertunnel.access.documents import PolicyError, is_set, list_unknown, read_object, read_text, read_texts
from evertunnel.model import PolicyResult

KIND = "access"
_INERT = (
    "id",
    "displayName",
    "description",
    "templateId",
    "createdDateTime",
    "modifiedDateTime",
    "deletedDateTime",
)
_PARTS = ("state", "conditions", "grantControls", "sessionControls", EXTENSION)


class State(StrEnum):
    """Whether a policy counts."""

    ON = "enabled"
    OFF = "disabled"
    REPORT_ONLY = "enabledForReportingButNotEnforced"


_NOT_APPLIED = {State.ON: "notApplied", State.OFF: "notEnabled", State.REPORT_ONLY: "reportOnlyNotApplied"}


@dataclass(frozen=True, slots=True, eq=False)
class AccessPolicy:
    """A compiled policy. `grant` and `session` are None where nothing of that kind is demanded.

    `telling` are its conditions but for one that matches everybody, `telling_of_vpn` besides without one that matches
    the VPN: asking them at every decision would cost more than those that tell policies apart. Of a policy that is off
    they say so. `unevaluable` and `without_meaning` are pairs of JSON path and reason.
    """

    name: str
    state: State
    conditions: tuple[Condition, ...]
    grant: GrantControls | None
    session: SessionControls | None
    unevaluable: tuple[tuple[str, str], ...] = ()
    without_meaning: tuple[tuple[str, str], ...] = ()
    telling: tuple[Condition, ...] = field(init=False, repr=False)
    telling_of_vpn: tuple[Condition, ...] = field(init=False, repr=False)
    # There are few verdicts, and most policies do not apply to most sign-ins: each such result is built once.
    _not_applied: dict[Verdict, PolicyResult] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        telling = (
            (Fixed(OFF),)
            if self.is_off
            else tuple(each for each in self.conditions if not (isinstance(each, Users) and each.includes_everybody))
        )
        object.__setattr__(self, "telling", telling)
        of_vpn = tuple(each for each in telling if not (isinstance(each, Applications) and each.vpn is MATCHES))
        object.__setattr__(self, "telling_of_vpn", of_vpn)

    @property
    def is_off(self) -> bool:
        """Whether it is switched off altogether."""
        return self.state is State.OFF

    def get_not_applied(self, verdict: Verdict) -> PolicyResult:
        """The result where a condition does not match, or the policy is off."""
        result = self._not_applied.get(verdict)
        if result is None:
            result = self._not_applied[verdict] = PolicyResult(self.name, KIND, _NOT_APPLIED[self.state], verdict.text)
        return result


def compile_access_policy(
    document: Any,
    resolved: Mapping[str, str],
    *,
    locations: Mapping[str, NamedLocation] | None = None,
    strengths: Mapping[str, AuthenticationStrength] | None = None,
) -> AccessPolicy:
    """Read a policy. Raises PolicyError.

    `resolved` maps every user and group it names to an id, and may map ids of applications to VPN or another name.
    `locations` and `strengths` hold all there are, by id and by name: AllTrusted means all of them that are trusted.
    """
    policy = read_object(document, "$")
    notes = Notes([], [])
    name = read_text(policy.get("displayName"), "$.displayName")
    state = State(read_text(policy.get("state"), "$.state", choices=[state.value for state in State]))
    conditions = read_conditions(policy.get("conditions"), resolved, locations or {}, notes)
    unknown = build_unknown(list_unknown(policy, "$", (*_INERT, *_PARTS)), notes)
    extension = read_extension(policy.get(EXTENSION))
    least = extension.least_source
    if least is not None:
        conditions = limit_conditions(conditions, least)
    grant = read_grant_controls(
        policy.get("grantControls"),
        strengths or {},
        notes,
        own_tunnel=extension.require_device_tunnel,
        limit=(lambda control: control) if least is None else (lambda control: limit_control(control, least)),
    )
    session, has_session = read_session_controls(policy.get("sessionControls"), notes)
    if grant is None and not has_session:
        path = f"{GRANT_PATH}.builtInControls" if isinstance(policy.get("grantControls"), Mapping) else GRANT_PATH
        raise PolicyError(path, "demands nothing: name at least one control")
    return AccessPolicy(
        name,
        state,
        (*conditions, *unknown),
        grant,
        session,
        tuple(notes.unevaluable),
        tuple(notes.without_meaning),
    )


def list_unevaluable(policy: AccessPolicy) -> tuple[tuple[str, str], ...]:
    """What of a policy cannot be evaluated, as pairs of JSON path and reason.

    While the policy is on, such a condition counts as met where that restricts and such a control is never met.
    """
    return policy.unevaluable


def list_without_meaning(policy: AccessPolicy) -> tuple[tuple[str, str], ...]:
    """What of a policy has no effect on a VPN, as pairs of JSON path and reason."""
    return policy.without_meaning


def list_references(document: Any) -> list[tuple[str, str, str]]:
    """Everything a policy names that the caller has to resolve, as (path, kind, text).

    Kinds are user, group, location and strength. A strength that the policy holds itself, or a built-in one, is none.
    """
    policy = read_object(document, "$")
    conditions = read_object(policy.get("conditions"), "$.conditions")
    named = read_object(conditions.get("users"), users.PATH)
    found = []
    for name in users.TEXT_FIELDS:
        kind, words = ("group", ()) if name.endswith("Groups") else ("user", users.WORDS)
        found += _list_texts(named, f"{users.PATH}.{name}", kind, words)
    if is_set(conditions.get("locations")):
        places = read_object(conditions["locations"], location_condition.PATH)
        words = (*location_condition.WORDS, location_condition.MFA_TRUSTED_ADDRESSES)
        for name in location_condition.FIELDS:
            found += _list_texts(places, f"{location_condition.PATH}.{name}", "location", words)
    grant = policy.get("grantControls")
    wanted = read_object(grant, GRANT_PATH).get("authenticationStrength") if is_set(grant) else None
    if is_set(wanted):
        path = f"{GRANT_PATH}.authenticationStrength"
        strength = read_object(wanted, path)
        text = read_text(strength.get("id"), f"{path}.id")
        if text.lower() not in BUILT_IN and not is_set(strength.get("allowedCombinations")):
            found.append((f"{path}.id", "strength", text))
    return found


def _list_texts(
    document: Mapping[str, Any], path: str, kind: str, words: tuple[str, ...]
) -> list[tuple[str, str, str]]:
    texts = read_texts(document.get(path.rpartition(".")[2]), path)
    return [(f"{path}[{index}]", kind, text) for index, text in enumerate(texts) if text not in words]
