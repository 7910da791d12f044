"""The decision: denials, then who and what, then network policies, then conditional access. No default accepts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from evertunnel.access.conditional.evaluation import evaluate_access_policies
from evertunnel.access.conditional.policies import AccessPolicy
from evertunnel.access.conditional.sign_in import Known, MethodUse, Person, SignIn, read_address
from evertunnel.access.conditional.strengths import METHODS
from evertunnel.access.facts import COMPLIANT, DOMAIN_JOINED, Facts, judge_device_fact
from evertunnel.access.least_source import limit_told_facts
from evertunnel.access.network_policies import NetworkPolicy, find_unmatched_condition
from evertunnel.access.own_tunnel import find_own_tunnel
from evertunnel.model import (
    AuthenticationMethod,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Decision,
    LoginMethod,
    Outcome,
    PolicyResult,
    Reason,
    TunnelKind,
)

# Which kinds may bring up which tunnel, whatever any policy says.
TUNNEL_KINDS = {
    TunnelKind.USER: frozenset({CertificateKind.USER, CertificateKind.SHORT_LIVED}),
    TunnelKind.DEVICE: frozenset({CertificateKind.DEVICE}),
}
# What Windows, macOS and telephones sign in with for a tunnel: a program that can carry a second factor, no browser.
# No flow from another device leads here.
_CLIENT_APP = "mobileAppsAndDesktopClients"
# Graph's words for how somebody signed in with us; other names are Graph's already, or nobody's.
_METHODS = {AuthenticationMethod.PASSWORD.value: "password", AuthenticationMethod.TOTP.value: "softwareOath"}


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies, compiled. Nothing configured is a pair of empty sequences, and means no."""

    network: Sequence[NetworkPolicy] = ()
    access: Sequence[AccessPolicy] = ()


def decide_tunnel(policies: Policies, facts: Facts, *, with_results: bool = True) -> Decision:
    """May this tunnel come up, or stay up?

    Without the results of conditional access policies, which are most of the work, where nobody reads them.
    """
    refusal = find_standing_refusal(facts) or find_certificate_refusal(facts)
    if refusal:
        return _refuse(*refusal)
    results: list[PolicyResult] = []
    policy = find_network_policy(policies.network, facts, results)
    if policy is None:
        return _refuse(Reason.NO_NETWORK_POLICY, "no network policy matches", results)
    if not policy.grant:
        return _refuse(Reason.NETWORK_POLICY_DENIES, f"network policy {policy.name!r} denies", results)
    if policy.allowed_certificate_oids and policy.allowed_certificate_oids.isdisjoint(facts.certificate_usages):
        wanted = ", ".join(sorted(policy.allowed_certificate_oids))
        return _refuse(
            Reason.CERTIFICATE_USAGE_DEMANDED,
            f"network policy {policy.name!r} demands a certificate with usage {wanted}",
            results,
        )
    if facts.tunnel is TunnelKind.USER and (refusal := find_method_refusal(policy, facts)):
        return _refuse(*refusal, results)
    evaluation = evaluate_access_policies(policies.access, build_sign_in(facts))
    if with_results:
        results.extend(evaluation.results)
    if evaluation.refusal:
        return _refuse(*evaluation.refusal, results)
    return Decision(
        Outcome.GRANTED,
        Reason.GRANTED,
        f"network policy {policy.name!r} grants",
        tuple(results),
        _bound(policy.settings, evaluation.lifetime_seconds),
        evaluation.lifetime_seconds,
    )


def decide_certificate(policies: Policies, facts: Facts) -> Decision:
    """May a short-lived certificate be issued? Only when at least one conditional access policy applies and all do."""
    refusal = find_standing_refusal(facts)
    if refusal:
        return _refuse(*refusal)
    user, device = facts.user, facts.device
    if user is not None and device is not None and user.id not in device.users:
        return _refuse(Reason.DEVICE_NOT_ASSIGNED, f"{device.name} is not assigned to {user.name}")
    evaluation = evaluate_access_policies(policies.access, build_sign_in(facts))
    if evaluation.refusal:
        return _refuse(*evaluation.refusal, evaluation.results)
    if not evaluation.satisfied:
        return _refuse(
            Reason.NO_ACCESS_POLICY,
            "no conditional access policy that is switched on applies, so nothing vouches for this sign-in",
            evaluation.results,
        )
    return Decision(
        Outcome.GRANTED,
        Reason.GRANTED,
        "conditional access is satisfied",
        evaluation.results,
        lifetime_seconds=evaluation.lifetime_seconds,
    )


def build_sign_in(facts: Facts) -> SignIn:
    """The facts as conditional access policies see them. What is unknown stays unknown."""
    known = facts.sign_in
    user = facts.user
    compliant = Known(*judge_device_fact(facts, COMPLIANT))
    return SignIn(
        at=facts.at,
        user=Person(user.id, user.name, user.groups, known.roles, known.kind, known.tenant) if user else None,
        client_app=_CLIENT_APP,
        platform=known.platform,
        address=read_address(facts.client_address),
        country=known.country,
        sign_in_risk=known.sign_in_risk,
        user_risk=known.user_risk,
        insider_risk=known.insider_risk,
        transfer_method="none",
        device=_build_device(facts, compliant),
        compliant=compliant,
        domain_joined=Known(*judge_device_fact(facts, DOMAIN_JOINED)),
        methods=build_methods(facts.authentication_methods, facts.signed_in_at),
        terms_accepted=known.terms_accepted,
        password_changed=known.password_changed,
        authenticated_at=facts.signed_in_at,
        tunnel=facts.tunnel is not None,
        established=facts.established,
        own_tunnel=Known(
            *find_own_tunnel(facts.own_tunnel, facts.client_address, device_known=facts.device is not None)
        ),
        told_by=partial(_list_told_by, facts),
    )


def _list_told_by(facts: Facts, least_source: str) -> dict[str, Any]:
    """What of a sign-in hangs on who told it, when only such a source and more trusted ones count."""
    known = limit_told_facts(facts, least_source)
    compliant = Known(*judge_device_fact(facts, COMPLIANT, least_source=least_source))
    return {
        "platform": known.platform,
        "sign_in_risk": known.sign_in_risk,
        "user_risk": known.user_risk,
        "compliant": compliant,
        "domain_joined": Known(*judge_device_fact(facts, DOMAIN_JOINED, least_source=least_source)),
        "device": _build_device(replace(facts, sign_in=known), compliant),
    }


def build_methods(names: Sequence[str], at: datetime | None) -> tuple[MethodUse, ...]:
    """Those of the sign-in, all passed at its time. One that Graph has no word for counts for nothing."""
    if at is None:
        return ()
    words = [_METHODS.get(name, name) for name in names]
    return tuple(MethodUse(word, at) for word in words if word in METHODS)


def _build_device(facts: Facts, compliant: Known) -> Mapping[str, Any] | None:
    """A device on record is registered. Its name and compliance are ours to say; deviceId is a directory's id of it.

    No rule can name our own: where nobody told the directory's, it may be any.
    """
    if facts.device is None:
        return None
    device = {**facts.sign_in.device, "displayName": facts.device.name}
    device.pop("isCompliant", None)
    return device if compliant.value is None else {**device, "isCompliant": compliant.value}


def _bound(settings: Mapping[str, Any], lifetime_seconds: int | None) -> Mapping[str, Any]:
    """A tunnel ends when its person must sign in again, if nothing ends it sooner."""
    if lifetime_seconds is None:
        return settings
    timeout = settings.get("session_timeout_seconds", lifetime_seconds)
    return {**settings, "session_timeout_seconds": min(timeout, lifetime_seconds)}


def find_standing_refusal(facts: Facts) -> tuple[Reason, str] | None:
    """What refuses whoever it is and whatever policies say: a denial, or somebody who is disabled."""
    if facts.user_denial:
        return Reason.USER_DENIED, f"the user is denied: {facts.user_denial}"
    if facts.device_denial:
        return Reason.DEVICE_DENIED, f"the device is denied: {facts.device_denial}"
    if facts.user is not None and not facts.user.enabled:
        return Reason.USER_DISABLED, "the user is disabled"
    if facts.device is not None and not facts.device.enabled:
        return Reason.DEVICE_DISABLED, "the device is disabled"
    return None


def find_certificate_refusal(facts: Facts) -> tuple[Reason, str] | None:
    """What refuses this certificate on this tunnel, whatever policies say."""
    certificate = facts.certificate
    if facts.gateway is not None and not facts.gateway.enabled:
        return Reason.GATEWAY_DISABLED, f"the gateway {facts.gateway.name} is disabled or was removed"
    if facts.tunnel is TunnelKind.USER and facts.method is not None and facts.method.by_password:
        return (Reason.USER_UNKNOWN, "the user does not exist") if facts.user is None else None
    if facts.tunnel is None or certificate is None:
        return Reason.CERTIFICATE_UNKNOWN, "no certificate of ours was presented"
    if certificate.kind not in TUNNEL_KINDS[facts.tunnel]:
        return (
            Reason.CERTIFICATE_WRONG_KIND,
            f"a {certificate.kind.value} certificate may not bring up the {facts.tunnel.value} tunnel",
        )
    match certificate.status:
        case CertificateStatus.VALID:
            pass
        case CertificateStatus.ON_HOLD:
            return Reason.CERTIFICATE_ON_HOLD, "the certificate is on hold"
        case CertificateStatus.REVOKED:
            return Reason.CERTIFICATE_REVOKED, "the certificate is revoked"
        case _:
            return Reason.CERTIFICATE_UNKNOWN, "the certificate was never issued"
    if not facts.established and facts.at >= certificate.not_after:
        return Reason.CERTIFICATE_EXPIRED, f"the certificate ended at {certificate.not_after:%F %T} UTC"
    if facts.tunnel is TunnelKind.USER and facts.user is None:
        return Reason.USER_UNKNOWN, "the certificate's owner does not exist"
    if facts.tunnel is TunnelKind.DEVICE and facts.device is None:
        return Reason.DEVICE_UNKNOWN, "the certificate's device does not exist"
    return _find_assignment_refusal(facts, certificate)


def find_method_refusal(policy: NetworkPolicy, facts: Facts) -> tuple[Reason, str] | None:
    """What a policy that matches has against how the client of a user tunnel logs in."""
    method = facts.method or LoginMethod.EAP_TLS
    if method not in policy.methods:
        allowed = ", ".join(policy.methods)
        return Reason.METHOD_NOT_ALLOWED, f"network policy {policy.name!r} allows {allowed} and not {method.value}"
    if facts.crypto_bound is False and not policy.without_crypto_binding:
        return Reason.CRYPTO_BINDING_MISSING, f"network policy {policy.name!r} demands crypto-binding"
    return None


def _find_assignment_refusal(facts: Facts, certificate: Certificate) -> tuple[Reason, str] | None:
    """A certificate for somebody on a device counts while the device is there, a short-lived one while it is his."""
    short_lived = certificate.kind is CertificateKind.SHORT_LIVED
    if facts.device is None and (short_lived or certificate.device_id is not None):
        return Reason.DEVICE_UNKNOWN, "the certificate's device does not exist"
    if short_lived and facts.device is not None and facts.user is not None and facts.user.id not in facts.device.users:
        return Reason.DEVICE_NOT_ASSIGNED, f"{facts.device.name} is not assigned to {facts.user.name} any more"
    return None


def find_network_policy(
    policies: Sequence[NetworkPolicy], facts: Facts, results: list[PolicyResult]
) -> NetworkPolicy | None:
    """The first policy whose conditions all match; what each one said on the way goes into `results`."""
    for policy in policies:
        if not policy.enabled:
            results.append(PolicyResult(policy.name, "network", "notEnabled", "switched off"))
            continue
        unmatched = find_unmatched_condition(policy, facts)
        if unmatched is None:
            result = "success" if policy.grant else "failure"
            weak = f"; {policy.weakness}" if policy.weakness else ""
            results.append(PolicyResult(policy.name, "network", result, f"all conditions match{weak}"))
            return policy
        results.append(_build_not_applied(policy.name, unmatched))
    return None


@lru_cache(maxsize=4_096)
def _build_not_applied(policy_name: str, unmatched: str) -> PolicyResult:
    """Most policies are about others, and say so in few words: each result is built once."""
    return PolicyResult(policy_name, "network", "notApplied", unmatched)


def _refuse(reason: Reason, detail: str, results: Sequence[PolicyResult] = ()) -> Decision:
    return Decision(Outcome.REFUSED, reason, detail, tuple(results))
