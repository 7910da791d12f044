"""Two profiles, or a profile and what a client gave back, compared by meaning.

Windows gives a profile back changed: friendly names, defaults written out, trusted networks taken from name rules, the
scheme of a proxy gone (seen in DPC's source). None of that is a difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from evertunnel.profiles.model import NameRule, Profile, Protocol, Proxy, Server

# What a client does when a profile says nothing.
_DEFAULTS: dict[str, Any] = {
    "always_on_active": True,
    "bypass_for_local": False,
    "use_ras_credentials": True,
    "data_encryption": "Require",
    "private_network": True,
    "disable_ikev2_fragmentation": False,
    "selectors_as_routes": False,
    "network_outage_seconds": 1800,
}
_NO_ORDER = frozenset({"routes", "name_rules", "traffic_filters", "app_triggers"})
_NOT_MEANING = frozenset({"version", "unknown", "name"})


@dataclass(frozen=True, slots=True)
class Difference:
    """A field and its two values as text; an empty one is not there."""

    field: str
    first: str
    second: str


def compare_profiles(first: Profile, second: Profile) -> list[Difference]:
    """What differs, in the order of the model's fields."""
    left, right = _normalise(first), _normalise(second)
    # Where one names no trusted networks, Windows shows those of the name rules.
    for one, other in ((left, right), (right, left)):
        shown = {suffix.lstrip(".") for suffix in other.trusted_networks}
        if not one.trusted_networks and shown <= {rule.domain.lstrip(".") for rule in one.name_rules}:
            left, right = replace(left, trusted_networks=()), replace(right, trusted_networks=())
    found: list[Difference] = []
    for item in fields(Profile):
        if item.name not in _NOT_MEANING:
            found += _compare(item.name, getattr(left, item.name), getattr(right, item.name))
    return found


def _normalise(profile: Profile) -> Profile:
    changed: dict[str, Any] = {name: default for name, default in _DEFAULTS.items() if getattr(profile, name) is None}
    changed["servers"] = tuple(Server(server.address.lower()) for server in profile.servers)
    changed["dns_suffixes"] = tuple(suffix.lower() for suffix in profile.dns_suffixes)
    changed["trusted_networks"] = tuple(sorted(suffix.lower() for suffix in profile.trusted_networks))
    changed["traffic_filters"] = tuple(replace(item, name="") for item in profile.traffic_filters)
    changed["name_rules"] = tuple(
        NameRule(rule.domain.lower(), tuple(sorted(rule.servers)), rule.proxy, rule.auto_trigger, rule.persistent)
        for rule in profile.name_rules
    )
    if profile.proxy is not None and profile.proxy.server:
        server = profile.proxy.server.removeprefix("http://").removeprefix("https://")
        changed["proxy"] = Proxy(
            profile.proxy.auto_config_url,
            server if ":" in server else f"{server}:80",
            tuple(sorted(profile.proxy.exceptions)),
            profile.proxy.bypass_local,
        )
    if len(profile.protocols) > 1 and profile.protocol_retry_hours is None:
        changed["protocol_retry_hours"] = 168
    if Protocol.IKEV2 not in profile.protocols:
        changed["disable_ikev2_fragmentation"] = False
    return replace(profile, **changed)


def _compare(field: str, first: Any, second: Any) -> Iterator[Difference]:
    if first == second:
        return
    if field in _NO_ORDER:
        for item in sorted(set(first) - set(second), key=str):
            yield Difference(field, describe(item), "")
        for item in sorted(set(second) - set(first), key=str):
            yield Difference(field, "", describe(item))
    elif is_dataclass(first) and type(first) is type(second):
        for item in fields(first):
            yield from _compare(f"{field}.{item.name}", getattr(first, item.name), getattr(second, item.name))
    else:
        yield Difference(field, describe(first), describe(second))


def describe(value: Any) -> str:
    """A value of the model in a line."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(describe(item) for item in value)
    if is_dataclass(value):
        parts = (f"{item.name}={text}" for item in fields(value) if (text := describe(getattr(value, item.name))))
        return " ".join(parts)
    return str(value)
