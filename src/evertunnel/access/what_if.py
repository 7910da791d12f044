"""What would come of a sign-in or a tunnel, and everything that stands in its way, not only what refuses first."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from evertunnel.access.conditional.evaluation import Evaluation, evaluate_access_policies
from evertunnel.access.decision import (
    Policies,
    build_sign_in,
    decide_certificate,
    decide_tunnel,
    find_certificate_refusal,
    find_network_policy,
    find_standing_refusal,
)
from evertunnel.access.fact_names import OPERATING_SYSTEM
from evertunnel.access.fact_sources import SUPPOSED
from evertunnel.access.facts import COMPLIANT, DOMAIN_JOINED, SIGN_IN_RISK, USER_RISK, Facts
from evertunnel.access.own_tunnel import OwnTunnel
from evertunnel.errors import InvalidInputError
from evertunnel.model import (
    Authority,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Decision,
    Device,
    Fact,
    PolicyResult,
    Reason,
    TunnelKind,
    User,
)

_LIFE = timedelta(hours=1)
_AUTHORITIES = {
    CertificateKind.USER: Authority.ISSUING,
    CertificateKind.SHORT_LIVED: Authority.ACCESS,
    CertificateKind.DEVICE: Authority.DEVICE,
}


@dataclass(frozen=True, slots=True)
class Supposition:
    """What to take for true instead of what is known. None, and what is left out, stays as it is known.

    Words are Graph's: `platform` windows, `sign_in_risk` high, `methods` password, softwareOath and the like; where no
    method was passed nobody signed in.
    `device` holds properties that device filters ask for.
    """

    address: str | None = None
    country: str | None = None
    platform: str | None = None
    compliant: bool | None = None
    domain_joined: bool | None = None
    own_tunnel: bool | None = None
    sign_in_risk: str | None = None
    user_risk: str | None = None
    insider_risk: str | None = None
    methods: tuple[str, ...] | None = None
    signed_in_at: datetime | None = None
    device: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prospect:
    """What would come of it. `decision` is what a login would get; the rest is told whatever refuses first.

    `obstacles` are denials and what is wrong with user, device or certificate.
    """

    decision: Decision
    obstacles: tuple[tuple[Reason, str], ...]
    network: tuple[PolicyResult, ...]
    access: Evaluation


def suppose(facts: Facts, supposition: Supposition) -> Facts:
    """The facts with what is supposed in place of what is known."""
    told: dict[str, object] = {
        COMPLIANT: supposition.compliant,
        DOMAIN_JOINED: supposition.domain_joined,
        OPERATING_SYSTEM: supposition.platform,
        **supposition.device,
    }
    risks = {SIGN_IN_RISK: supposition.sign_in_risk, USER_RISK: supposition.user_risk}
    own_tunnel = facts.own_tunnel
    if supposition.own_tunnel is not None:
        own_tunnel = OwnTunnel(supposed=supposition.own_tunnel)
    known = facts.sign_in
    given = {
        name: value
        for name in ("country", "platform", "sign_in_risk", "user_risk", "insider_risk")
        if (value := getattr(supposition, name)) is not None
    }
    methods, signed_in_at = facts.authentication_methods, facts.signed_in_at
    if supposition.methods is not None:
        methods, signed_in_at = supposition.methods, facts.at if supposition.methods else None
    return replace(
        facts,
        client_address=facts.client_address if supposition.address is None else supposition.address,
        device_facts=_suppose_facts(facts.device_facts, told, facts.at),
        user_facts=_suppose_facts(facts.user_facts, risks, facts.at),
        own_tunnel=own_tunnel,
        sign_in=replace(known, device={**known.device, **supposition.device}, **given),
        authentication_methods=methods,
        signed_in_at=supposition.signed_in_at or signed_in_at,
    )


def _suppose_facts(
    known: Mapping[str, tuple[Fact, ...]], told: Mapping[str, object], at: datetime
) -> dict[str, tuple[Fact, ...]]:
    """What sources say, with what is supposed in place of all that any of them says of the same name."""
    words = {True: "true", False: "false"}
    supposed = {
        name: (Fact(name, words[value] if isinstance(value, bool) else str(value), SUPPOSED, at),)
        for name, value in told.items()
        if value is not None
    }
    return {**known, **supposed}


def look_ahead(policies: Policies, facts: Facts) -> Prospect:
    """Decide as for a login, or as for a certificate where `facts` name no tunnel, and look at everything."""
    decide = decide_certificate if facts.tunnel is None else decide_tunnel
    network: list[PolicyResult] = []
    refusals = [find_standing_refusal(facts)]
    if facts.tunnel is not None:
        refusals.append(find_certificate_refusal(facts))
        find_network_policy(policies.network, facts, network)
    return Prospect(
        decide(policies, facts),
        tuple(refusal for refusal in refusals if refusal is not None),
        tuple(network),
        evaluate_access_policies(policies.access, build_sign_in(facts)),
    )


def suppose_certificate(
    tunnel: TunnelKind, kind: CertificateKind | None, user: User | None, device: Device | None, *, at: datetime
) -> Certificate:
    """A good certificate for a tunnel, whether or not there is one. Raises InvalidInputError for a `kind` of none.

    None: the device's for a device tunnel, a short-lived one where a device is named, else the user's.
    """
    if kind is None:
        short_lived = CertificateKind.SHORT_LIVED if device is not None else CertificateKind.USER
        kind = CertificateKind.DEVICE if tunnel is TunnelKind.DEVICE else short_lived
    if kind not in _AUTHORITIES:
        raise InvalidInputError(f"a {kind.value} certificate opens no tunnel")
    return Certificate(
        id="",
        authority=_AUTHORITIES[kind],
        serial=0,
        kind=kind,
        status=CertificateStatus.VALID,
        not_after=at + _LIFE,
        user_id=user.id if user else None,
        device_id=device.id if device else None,
    )
