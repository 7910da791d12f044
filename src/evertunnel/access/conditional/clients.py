"""Conditions about the client: its kind, its platform, and whether the sign-in came from another device.

A platform that is not known matches `all` only and is never excluded by name, as in Entra (reference: 1.9): whoever
wants such a one blocked writes include all, exclude those that are known. The platform is what the client says of
itself; nobody proves it. Where sources disagree about it, it may be any: else a device would leave a policy by telling
another one than its management does.
"""

from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.sign_in import CLIENT_APPS, DISPUTED, FLOWS, PLATFORMS, SignIn
from evertunnel.access.conditional.verdicts import MATCHES, Condition, Fixed, Notes, Verdict
from evertunnel.access.documents import PolicyError, is_set, list_unknown, read_flags, read_object, read_texts

_CLIENT_UNKNOWN = Verdict(None, "clientApps", "clientAppTypes: the kind of the client is not known")
_CLIENT_OTHER = Verdict(False, "clientApps", "clientAppTypes: it is about other kinds of clients")
_PLATFORM_EXCLUDED = Verdict(False, "devicePlatform", "platforms: the platform is excluded")
_PLATFORM_OTHER = Verdict(False, "devicePlatform", "platforms: the platform is not included")
_PLATFORM_NONE = Verdict(False, "devicePlatform", "platforms: the platform is not known, which only `all` includes")
_PLATFORM_DISPUTED = Verdict(None, "devicePlatform", "platforms: sources disagree about the platform")
_PLATFORM_FIELD = Verdict(None, "devicePlatform", "platforms: a field that is not known could include the platform")
_FLOW_UNKNOWN = Verdict(None, "authenticationFlow", "authenticationFlows: how the sign-in came here is not known")
_FLOW_OTHER = Verdict(False, "authenticationFlow", "authenticationFlows: the sign-in came by no such flow")
_FLOW_FIELD = Verdict(None, "authenticationFlow", "authenticationFlows: a field that is not known cannot be evaluated")


@dataclass(frozen=True, slots=True)
class ClientApps:
    """Kinds of clients, without the word all."""

    kinds: frozenset[str]

    def check(self, sign_in: SignIn) -> Verdict:
        """Exchange ActiveSync includes the clients of it that can carry policies."""
        kind = sign_in.client_app
        if kind is None:
            return _CLIENT_UNKNOWN
        if kind in self.kinds or (kind == "easSupported" and "exchangeActiveSync" in self.kinds):
            return MATCHES
        return _CLIENT_OTHER


@dataclass(frozen=True, slots=True)
class Platforms:
    """Platforms; the word all includes what no word names."""

    include: frozenset[str]
    include_unknown: bool
    exclude: frozenset[str]

    def check(self, sign_in: SignIn) -> Verdict:
        """Exclude beats include."""
        platform = sign_in.platform
        if platform in self.exclude or "all" in self.exclude:
            return _PLATFORM_EXCLUDED
        if platform in self.include or "all" in self.include:
            return MATCHES
        if self.include_unknown:
            return _PLATFORM_FIELD
        if platform == DISPUTED:
            return _PLATFORM_DISPUTED
        return _PLATFORM_NONE if platform is None else _PLATFORM_OTHER


@dataclass(frozen=True, slots=True)
class Flows:
    """Ways a sign-in may come here from another device."""

    methods: frozenset[str]
    unknown: bool

    def check(self, sign_in: SignIn) -> Verdict:
        """A field we do not know narrows it: unknown unless the flow is another anyway."""
        if sign_in.transfer_method is None:
            return _FLOW_UNKNOWN
        if self.methods and sign_in.transfer_method not in self.methods:
            return _FLOW_OTHER
        return _FLOW_FIELD if self.unknown else MATCHES


def read_client_apps(value: Any) -> Condition | None:
    """Read `conditions.clientAppTypes`; None is every kind."""
    kinds = read_texts(value, "$.conditions.clientAppTypes", choices=("all", *CLIENT_APPS))
    return None if not kinds or "all" in kinds else ClientApps(frozenset(kinds))


def read_platforms(value: Any, notes: Notes) -> Condition | None:
    """Read `conditions.platforms`; None is every platform."""
    path = "$.conditions.platforms"
    if not is_set(value):
        return None
    document = read_object(value, path)
    words = ("all", *PLATFORMS)
    include = read_texts(document.get("includePlatforms"), f"{path}.includePlatforms", choices=words)
    exclude = read_texts(document.get("excludePlatforms"), f"{path}.excludePlatforms", choices=words)
    unknown = list_unknown(document, path, ("includePlatforms", "excludePlatforms"))
    if not include and not unknown:
        if exclude:
            raise PolicyError(f"{path}.includePlatforms", 'names no platform: use ["all"]')
        return None
    return Platforms(frozenset(include), notes.add_unknown(unknown), frozenset(exclude))


def read_flows(value: Any, notes: Notes) -> Condition | None:
    """Read `conditions.authenticationFlows`; None if nothing is asked of it."""
    path = "$.conditions.authenticationFlows"
    if not is_set(value):
        return None
    document = read_object(value, path)
    methods = read_flags(document.get("transferMethods"), f"{path}.transferMethods", FLOWS)
    unknown = list_unknown(document, path, ("transferMethods",))
    notes.add_unknown(unknown)
    if not methods and not unknown:
        return None
    return Flows(methods, bool(unknown))


def read_workloads(value: Any, notes: Notes) -> Condition | None:
    """Read `conditions.clientApplications`: a policy for workload identities is about no person."""
    path = "$.conditions.clientApplications"
    if not is_set(value):
        return None
    document = read_object(value, path)
    known = ("includeServicePrincipals", "excludeServicePrincipals", "servicePrincipalFilter")
    include = read_texts(document.get("includeServicePrincipals"), f"{path}.includeServicePrincipals")
    read_texts(document.get("excludeServicePrincipals"), f"{path}.excludeServicePrincipals")
    unknown = list_unknown(document, path, known)
    if include or is_set(document.get("servicePrincipalFilter")):
        return Fixed(Verdict(False, "workloadIdentities", "clientApplications: it is about workload identities"))
    if unknown:
        notes.add_unknown(unknown)
        return Fixed(Verdict(None, "invalidCondition", "clientApplications: a field of it is not known"))
    return None
