"""Network policies: ordered; the first whose conditions all match decides, as in NPS (reference: NPS 1.1, 1.3).

Its permission grants or denies; when it grants, its settings must hold too (Allowed-Certificate-OID), and no
later policy is tried. Which methods a client may log in with is one of them, as in NPS (reference: NPS 1.4).

A group of `groups` is of whom the tunnel belongs to: of the user for a user tunnel, of the device for a device tunnel.
So a device in a group opens no tunnel for whoever uses it. A policy that denies matches either: whoever puts a
device into a group that is denied means its user tunnels as well. `user_groups` and `device_groups` say which.

`device_tunnel` is met by a user tunnel whose device's own tunnel is up from the same address; a policy that denies
takes what is not known for met.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evertunnel.access.documents import PolicyError, quote, read_object, read_text, read_texts, refuse_unknown
from evertunnel.access.facts import Facts
from evertunnel.access.own_tunnel import find_own_tunnel
from evertunnel.model import LoginMethod, TunnelKind

_CONDITIONS = ("tunnel", "users", "groups", "user_groups", "device_groups", "devices", "gateways", "device_tunnel")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+", re.ASCII)
_GROUPS_NAMED = 10
_SETTINGS = (
    "allowed_certificate_oids", "session_timeout_seconds", "authentication_methods", "without_crypto_binding",
)  # fmt: skip
# Where a policy names none: both prove the key of a certificate.
USUAL_METHODS = (LoginMethod.EAP_TLS, LoginMethod.PEAP_EAP_TLS)


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """A compiled policy. Sets hold ids; an empty set is a condition that was not set and matches everything."""

    name: str
    enabled: bool
    grant: bool
    tunnel: TunnelKind | None = None
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    user_groups: frozenset[str] = frozenset()
    device_groups: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    gateways: frozenset[str] = frozenset()
    device_tunnel: bool = False
    allowed_certificate_oids: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    methods: tuple[LoginMethod, ...] = USUAL_METHODS
    weakness: str = ""

    @property
    def without_crypto_binding(self) -> bool:
        """Whether PEAP need not bind its inner method to its tunnel."""
        return bool(self.settings.get("without_crypto_binding"))


def compile_network_policy(name: str, document: Any) -> NetworkPolicy:
    """Read a policy document. Raises PolicyError with the JSON path of the first problem."""
    policy = read_object(document, "$")
    refuse_unknown(policy, "$", ("permission", "enabled", "conditions", "settings"))
    conditions = read_object(policy.get("conditions", {}), "$.conditions")
    refuse_unknown(conditions, "$.conditions", _CONDITIONS)
    settings = read_object(policy.get("settings", {}), "$.settings")
    refuse_unknown(settings, "$.settings", _SETTINGS)
    enabled = policy.get("enabled", True)
    if not isinstance(enabled, bool):
        raise PolicyError("$.enabled", "must be true or false")
    timeout = settings.get("session_timeout_seconds")
    if "session_timeout_seconds" in settings and (
        not isinstance(timeout, int) or isinstance(timeout, bool) or not 60 <= timeout < 2**31
    ):
        raise PolicyError("$.settings.session_timeout_seconds", "must be a number of seconds, at least 60")
    unbound = settings.get("without_crypto_binding", False)
    if not isinstance(unbound, bool):
        raise PolicyError("$.settings.without_crypto_binding", "must be true or false")
    given = {} if timeout is None else {"session_timeout_seconds": timeout}
    methods = _read_methods(settings)
    kinds = [kind.value for kind in TunnelKind]
    return NetworkPolicy(
        name=name,
        enabled=enabled,
        grant=read_text(policy.get("permission"), "$.permission", choices=("grant", "deny")) == "grant",
        tunnel=TunnelKind(read_text(conditions["tunnel"], "$.conditions.tunnel", choices=kinds))
        if "tunnel" in conditions
        else None,
        users=_read_named(conditions, "users"),
        groups=_read_named(conditions, "groups"),
        user_groups=_read_named(conditions, "user_groups"),
        device_groups=_read_named(conditions, "device_groups"),
        devices=_read_named(conditions, "devices"),
        gateways=_read_named(conditions, "gateways"),
        device_tunnel=_read_device_tunnel(conditions),
        allowed_certificate_oids=_read_oids(settings),
        settings={**given, "without_crypto_binding": True} if unbound else given,
        methods=methods,
        weakness=find_weakness(settings),
    )


def find_weakness(settings: Mapping[str, Any]) -> str:
    """What in a policy's settings is weak, in words; empty when nothing is."""
    weak = []
    methods = settings.get("authentication_methods", ())
    if any(method in methods for method in LoginMethod if method.by_password):
        weak.append("MS-CHAPv2")
    if settings.get("without_crypto_binding"):
        weak.append("without crypto-binding")
    return "weak: " + ", ".join(weak) if weak else ""


def _read_device_tunnel(conditions: Mapping[str, Any]) -> bool:
    if "device_tunnel" in conditions and conditions["device_tunnel"] is not True:
        raise PolicyError("$.conditions.device_tunnel", "must be true: leave the condition out to match without it too")
    return "device_tunnel" in conditions


def _read_named(conditions: Mapping[str, Any], name: str) -> frozenset[str]:
    path = f"$.conditions.{name}"
    if name in conditions and not conditions[name]:
        # An empty list reads like "nobody" and would match everybody.
        raise PolicyError(path, "is empty: name at least one, or leave the condition out to match all")
    return frozenset(read_texts(conditions.get(name), path))


def _read_methods(settings: Mapping[str, Any]) -> tuple[LoginMethod, ...]:
    path = "$.settings.authentication_methods"
    if "authentication_methods" not in settings:
        return USUAL_METHODS
    texts = read_texts(settings["authentication_methods"], path)
    if not texts:
        raise PolicyError(path, "is empty: name at least one method, or leave the setting out for those by certificate")
    known = [method.value for method in LoginMethod]
    for index, text in enumerate(texts):
        if text not in known:
            raise PolicyError(f"{path}[{index}]", f"{quote(text)} is none of {', '.join(known)}")
    return tuple(LoginMethod(text) for text in dict.fromkeys(texts))


def _read_oids(settings: Mapping[str, Any]) -> frozenset[str]:
    path = "$.settings.allowed_certificate_oids"
    if "allowed_certificate_oids" not in settings:
        return frozenset()
    texts = read_texts(settings["allowed_certificate_oids"], path)
    if not texts:
        # An empty list reads like "no certificate at all" and would demand nothing.
        raise PolicyError(path, "is empty: name at least one usage, or leave the setting out to demand none")
    for index, text in enumerate(texts):
        if not _OID.fullmatch(text):
            raise PolicyError(
                f"{path}[{index}]", f"{quote(text)} is not an object identifier such as 1.3.6.1.5.5.7.3.2"
            )
    return frozenset(texts)


def list_login_methods(
    policies: Iterable[NetworkPolicy], gateway_id: str, *, passwords: bool
) -> tuple[LoginMethod, ...]:
    """What policies that could match a user tunnel on a gateway allow: in their order, and in each one's own.

    Never empty: somebody whom no policy could grant is refused by the decision, which tells why.
    """
    allowed = dict.fromkeys(
        method
        for policy in policies
        if policy.enabled and policy.grant and policy.tunnel is not TunnelKind.DEVICE
        if not policy.gateways or gateway_id in policy.gateways
        for method in policy.methods
        if passwords or not method.by_password
    )
    return tuple(allowed) or USUAL_METHODS


def find_unmatched_condition(policy: NetworkPolicy, facts: Facts) -> str | None:
    """The first condition that does not match: its name, a colon and words; None when all match."""
    if policy.tunnel is not None and facts.tunnel is not policy.tunnel:
        return f"tunnel: it is not the {policy.tunnel.value} tunnel"
    if policy.users and (facts.user is None or facts.user.id not in policy.users):
        return "users: the user is not one of those named"
    unmatched = _find_unmatched_group(policy, facts)
    if unmatched is not None:
        return unmatched
    if policy.devices and (facts.device is None or facts.device.id not in policy.devices):
        return "devices: the device is not one of those named"
    if policy.gateways and (facts.gateway is None or facts.gateway.id not in policy.gateways):
        return "gateways: the gateway is not one of those named"
    return _find_missing_tunnel(policy, facts) if policy.device_tunnel else None


def _find_missing_tunnel(policy: NetworkPolicy, facts: Facts) -> str | None:
    if facts.tunnel is not TunnelKind.USER:
        return "only a user tunnel can come beside the device's own"
    up, words = find_own_tunnel(facts.own_tunnel, facts.client_address, device_known=facts.device is not None)
    return None if up or (up is None and not policy.grant) else words


def _find_unmatched_group(policy: NetworkPolicy, facts: Facts) -> str | None:
    of_user = facts.user.groups if facts.user else frozenset()
    of_device = facts.device.groups if facts.device else frozenset()
    if policy.groups and policy.grant:
        whose, groups = ("user", of_user) if facts.tunnel is TunnelKind.USER else ("device", of_device)
        if policy.groups.isdisjoint(groups):
            return f"groups: the {whose} is in none of the groups named"
    elif policy.groups and policy.groups.isdisjoint(of_user) and policy.groups.isdisjoint(of_device):
        return "groups: neither user nor device is in a group named"
    if policy.user_groups and policy.user_groups.isdisjoint(of_user):
        return "user_groups: the user is in none of the groups named"
    if policy.device_groups and policy.device_groups.isdisjoint(of_device):
        return "device_groups: the device is in none of the groups named"
    return None


def tell_seen(unmatched: str, facts: Facts, group_names: Mapping[str, str]) -> str:
    """The value that the condition of `find_unmatched_condition` looked at; empty where it names none of ours.

    `group_names` are by id. Words are made here, when a record is read, and not by the login that is decided.
    """
    user, device, gateway = facts.user, facts.device, facts.gateway
    groups_of_user = _name_groups("the user", user.groups if user else None, group_names)
    groups_of_device = _name_groups("the device", device.groups if device else None, group_names)
    match unmatched.partition(":")[0]:
        case "tunnel":
            return "no tunnel" if facts.tunnel is None else f"the {facts.tunnel.value} tunnel"
        case "users":
            return user.name if user else "no user"
        case "devices":
            return device.name if device else "no device"
        case "gateways":
            return gateway.name if gateway else "no gateway"
        case "user_groups":
            return groups_of_user
        case "device_groups":
            return groups_of_device
        case "groups" if "neither" in unmatched:
            return f"{groups_of_user}; {groups_of_device}"
        case "groups":
            return groups_of_user if "the user" in unmatched else groups_of_device
    return ""


def _name_groups(whose: str, groups: frozenset[str] | None, names: Mapping[str, str]) -> str:
    if groups is None:
        return f"{whose} is not known"
    shown = sorted(names.get(group, group) for group in groups)
    more = f" and {len(shown) - _GROUPS_NAMED} more" if len(shown) > _GROUPS_NAMED else ""
    return f"{whose} is in {', '.join(shown[:_GROUPS_NAMED])}{more}" if shown else f"{whose} is in no group"
