"""What sessions must have in common to be decided alike.

When a policy changes, thousands of tunnels that are up are decided again, and most of them differ in nothing any policy
looks at. What is here puts into one value all that whether a tunnel may stay depends on: of a name only whether a
policy names it, of a fact who says what and whether it is alive, of a sign-in's time whether it is too long ago. Where
those values are equal so is the answer; the words of a refusal may differ.

A policy that looks at something not known here makes that `unknown`: then nobody is like anybody else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from evertunnel.access.conditional.applications import Applications
from evertunnel.access.conditional.clients import ClientApps, Flows, Platforms
from evertunnel.access.conditional.devices import Devices
from evertunnel.access.conditional.extension import Limited, LimitedPlatforms
from evertunnel.access.conditional.grant_controls import OWN_TUNNEL_CONTROL, GrantControls
from evertunnel.access.conditional.location_condition import Locations
from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.policies import AccessPolicy, State
from evertunnel.access.conditional.risks import InsiderRisk, SignInRisk, UserRisk
from evertunnel.access.conditional.session_controls import SignInFrequency
from evertunnel.access.conditional.users import Users
from evertunnel.access.conditional.verdicts import Condition, Fixed
from evertunnel.access.decision import Policies
from evertunnel.access.fact_names import OPERATING_SYSTEM
from evertunnel.access.facts import COMPLIANT, DOMAIN_JOINED, SIGN_IN_RISK, USER_RISK
from evertunnel.model import Fact

USER_FACTS = (SIGN_IN_RISK, USER_RISK)
_DEVICE_FACTS = frozenset({COMPLIANT, DOMAIN_JOINED, OPERATING_SYSTEM})
# What decides whether a filter's extension attributes count at all.
_AVAILABILITY = ("trustType", "mdmAppId")
_DEVICE_NAMES = frozenset({"deviceId", "displayName"})
# These say the same of all tunnels, or look only at what is always in the value.
_ALWAYS_TOLD = (Applications, ClientApps, Fixed, Flows, InsiderRisk, Platforms, SignInRisk, UserRisk)
# And these controls look only at facts, methods of the sign-in, and the device's own tunnel.
_CONTROLS = frozenset(
    {
        "mfa", "compliantDevice", "domainJoinedDevice", "passwordChange", "termsOfUse", "authenticationStrength",
        OWN_TUNNEL_CONTROL,
    }
)  # fmt: skip

# Who says what, whether it is alive, and when it was seen where several speak of the same.
ToldFact = tuple[str, tuple[tuple[str, str, bool, datetime | None], ...]]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What policies that count look at.

    `users` and `devices` are ids they name, `device_facts` names of facts, `device_names` says that a rule asks for the
    name or the id of a device. With `unknown` they may look at anything.
    """

    users: frozenset[str]
    devices: frozenset[str]
    device_facts: tuple[str, ...]
    device_names: bool
    locations: tuple[NamedLocation, ...]
    frequencies: tuple[SignInFrequency, ...]
    unknown: bool


def list_inputs(policies: Policies) -> Inputs:
    """What may tell two tunnels that are up apart. Policies that are off, or only reported, tell nobody apart."""
    users: set[str] = set()
    devices: set[str] = set()
    device_facts = set(_DEVICE_FACTS)
    locations: dict[NamedLocation, None] = {}
    unknown = False
    for rule in policies.network:
        if rule.enabled:
            users |= rule.users
            devices |= rule.devices
    on = [policy for policy in policies.access if policy.state is State.ON]
    for condition in (_unwrap(each) for policy in on for each in policy.conditions):
        match condition:
            case Users():
                users |= condition.include_users | condition.exclude_users
            case Devices():
                device_facts |= {*condition.filter.properties, *_AVAILABILITY}
            case Locations():
                locations |= dict.fromkeys((*condition.include, *condition.exclude))
            case _:
                unknown = unknown or not isinstance(condition, _ALWAYS_TOLD)
    return Inputs(
        users=frozenset(users),
        devices=frozenset(devices),
        device_facts=tuple(sorted(device_facts)),
        device_names=not _DEVICE_NAMES.isdisjoint(device_facts),
        locations=tuple(locations),
        frequencies=_list_frequencies(on),
        unknown=unknown or not all(policy.grant is None or _is_known(policy.grant) for policy in on),
    )


def tell_facts(known: Mapping[str, tuple[Fact, ...]], names: Iterable[str], at: datetime) -> tuple[ToldFact, ...]:
    """What facts of some names say at a moment."""
    return tuple(
        [
            (
                name,
                tuple(
                    [
                        (
                            fact.source,
                            fact.value,
                            fact.expires_at is None or at < fact.expires_at,
                            fact.observed_at if len(said) > 1 else None,
                        )
                        for fact in said
                    ]
                ),
            )
            for name in names
            if (said := known.get(name))
        ]
    )


def _unwrap(condition: Condition) -> Condition:
    return condition.condition if isinstance(condition, (Limited, LimitedPlatforms)) else condition


def _list_frequencies(policies: Iterable[AccessPolicy]) -> tuple[SignInFrequency, ...]:
    found = (policy.session.frequency for policy in policies if policy.session is not None)
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _is_known(grant: GrantControls) -> bool:
    return all(control.judge is None or control.name in _CONTROLS for control in grant.controls)
