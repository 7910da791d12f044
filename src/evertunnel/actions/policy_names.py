"""What the texts of a stored policy mean: locations and strengths, compiled, under the texts that name them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from evertunnel.access.conditional.extension import strip_limit
from evertunnel.access.conditional.grant_controls import OWN_TUNNEL_CONTROL
from evertunnel.access.conditional.location_condition import Locations
from evertunnel.access.conditional.locations import NamedLocation, compile_named_location
from evertunnel.access.conditional.policies import AccessPolicy, compile_access_policy
from evertunnel.access.conditional.risks import SignInRisk, UserRisk
from evertunnel.access.conditional.strengths import BUILT_IN, AuthenticationStrength, compile_strength
from evertunnel.storage.policy_objects import ObjectKind

_Object = TypeVar("_Object")


def build_key(kind: ObjectKind, text: str) -> str:
    """Under what a policy's `resolved` has the id of a location or strength: a group may be called the same."""
    return f"{kind.value}:{text}"


def compile_location(location_id: str, document: Mapping[str, Any]) -> NamedLocation:
    """A stored location under the id it has here. Raises PolicyError."""
    return compile_named_location({**document, "id": location_id})


def compile_stored_strength(strength_id: str, document: Mapping[str, Any]) -> AuthenticationStrength:
    """A stored strength under the id it has here. Raises PolicyError."""
    return compile_strength({**document, "id": strength_id})


def compile_stored_policy(
    document: Any,
    resolved: Mapping[str, str],
    locations: Mapping[str, NamedLocation],
    strengths: Mapping[str, AuthenticationStrength],
) -> AccessPolicy:
    """Compile a policy with all locations and strengths there are, by id. Raises PolicyError."""
    return compile_access_policy(
        document,
        resolved,
        locations=_name(ObjectKind.LOCATION, resolved, locations),
        strengths=_name(ObjectKind.STRENGTH, resolved, {**BUILT_IN, **strengths}),
    )


def names_country(policy: AccessPolicy) -> bool:
    """Whether what a policy says depends on the country of the client's address."""
    return any(
        location.ranges is None and not location.unevaluable
        for condition in policy.conditions
        if isinstance(condition, Locations)
        for location in (*condition.include, *condition.exclude)
    )


def asks_for(policy: AccessPolicy, risk: type[SignInRisk | UserRisk]) -> bool:
    """Whether what a policy says depends on a risk."""
    return any(isinstance(strip_limit(condition), risk) for condition in policy.conditions)


def demands_own_tunnel(policy: AccessPolicy) -> bool:
    """Whether a policy, on or not, demands the device's own tunnel."""
    return policy.grant is not None and any(each.name == OWN_TUNNEL_CONTROL for each in policy.grant.controls)


def _name(kind: ObjectKind, resolved: Mapping[str, str], by_id: Mapping[str, _Object]) -> Mapping[str, _Object]:
    prefix = build_key(kind, "")
    named = {
        key.removeprefix(prefix): by_id[object_id]
        for key, object_id in resolved.items()
        if key.startswith(prefix) and object_id in by_id
    }
    return {**by_id, **named} if named else by_id
