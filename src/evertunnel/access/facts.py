"""All that is known when a decision is made. What is not here is unknown, and unknown is never fine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evertunnel.model import Certificate, Device, Fact, Gateway, TunnelKind, User

# The fact conditional access asks for with the control compliantDevice.
COMPLIANT = "compliant"
# And the one it asks for with domainJoinedDevice.
DOMAIN_JOINED = "domain_joined"


@dataclass(frozen=True, slots=True)
class SignInFacts:
    """What is known of the sign-in itself, in Graph's words. Everything None or empty is unknown.

    `country` is what the client's address was looked up to be (conditional.sign_in has a word for none at all), `roles`
    and `kind` (member, or of which guests) are of the user, `device` are properties that device filters ask for
    besides those we know ourselves (None is null, what is absent is unknown), `terms_accepted` the ids of terms of use.
    """

    platform: str | None = None
    country: str | None = None
    sign_in_risk: str | None = None
    user_risk: str | None = None
    insider_risk: str | None = None
    roles: frozenset[str] | None = None
    kind: str | None = None
    tenant: str | None = None
    device: Mapping[str, Any] = field(default_factory=dict)
    password_changed: bool | None = None
    terms_accepted: frozenset[str] = frozenset()


_NOTHING_KNOWN = SignInFacts()


@dataclass(frozen=True, slots=True)
class Facts:
    """One request for access. `tunnel` is None when a short-lived certificate is asked for, not a tunnel.

    `user_denial` and `device_denial` are the reasons of standing denials, empty when there is none.
    `device_facts` holds, by name, what each source says of the device; `sign_in` the rest that conditional access asks
    for. `established` says that the tunnel is up already: then the end of its certificate no longer matters,
    everything else does.
    `authentication_methods` (model.AuthenticationMethod) are those of the sign-in at `signed_in_at`, this one's or that
    of the short-lived certificate; empty when nobody signed in.
    """

    at: datetime
    tunnel: TunnelKind | None
    gateway: Gateway | None = None
    user: User | None = None
    device: Device | None = None
    certificate: Certificate | None = None
    certificate_usages: frozenset[str] = frozenset()
    user_denial: str = ""
    device_denial: str = ""
    device_facts: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)
    client_address: str = ""
    established: bool = False
    authentication_methods: tuple[str, ...] = ()
    signed_in_at: datetime | None = None
    sign_in: SignInFacts = _NOTHING_KNOWN


def find_device_fact(facts: Facts, name: str) -> tuple[bool | None, str]:
    """A yes-or-no fact about the device, and where it comes from. None is unknown.

    A fact older than its life is unknown. Where sources disagree the stricter wins.
    """
    if facts.device is None:
        return None, "the device is not known"
    alive = [fact for fact in facts.device_facts.get(name, ()) if fact.expires_at is None or facts.at < fact.expires_at]
    if not alive:
        return None, f"nothing is known of {facts.device.name}" if not facts.device_facts.get(name) else (
            f"what was reported of {facts.device.name} is too old"
        )
    strictest = min(alive, key=lambda fact: fact.value == "true")
    return (
        strictest.value == "true",
        f"{strictest.source} said {strictest.value} at {strictest.observed_at:%F %T} UTC",
    )
