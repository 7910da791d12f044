"""Evaluating conditional access policies: applicability, controls, and one result a policy (Entra's words)."""

from collections.abc import Sequence
from dataclasses import dataclass

from evertunnel.access.conditional.policies import AccessPolicy, State
from evertunnel.access.facts import COMPLIANT, Facts, find_device_fact
from evertunnel.model import PolicyResult, Reason

KIND = "access"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What all policies together say. `refusal` is None when every policy that applies is satisfied."""

    results: tuple[PolicyResult, ...]
    refusal: tuple[Reason, str] | None
    satisfied: int


def evaluate_access_policies(policies: Sequence[AccessPolicy], facts: Facts) -> Evaluation:
    """Every policy's result, and the refusal that counts: block first, then the first control not met."""
    results = []
    refusals: list[tuple[Reason, str]] = []
    satisfied = 0
    for policy in policies:
        if policy.state is State.OFF:
            results.append(PolicyResult(policy.name, KIND, "notEnabled", "switched off"))
            continue
        report_only = policy.state is State.REPORT_ONLY
        missing = _find_unmet_condition(policy, facts)
        if missing:
            word = "reportOnlyNotApplied" if report_only else "notApplied"
            results.append(PolicyResult(policy.name, KIND, word, missing))
            continue
        refusal, detail = _check_controls(policy, facts)
        if refusal is None:
            word = "reportOnlySuccess" if report_only else "success"
            satisfied += not report_only
        else:
            word = "reportOnlyFailure" if report_only else "failure"
            if not report_only:
                refusals.append((refusal, f"conditional access policy {policy.name!r}: {detail}"))
        results.append(PolicyResult(policy.name, KIND, word, detail))
    refusals.sort(key=lambda refusal: refusal[0] is not Reason.BLOCKED_BY_ACCESS_POLICY)
    return Evaluation(tuple(results), refusals[0] if refusals else None, satisfied)


def _find_unmet_condition(policy: AccessPolicy, facts: Facts) -> str:
    """Why the policy does not apply; empty when it does. Exclude beats include."""
    if not policy.applies_to_tunnels:
        return "applications: it is not about the VPN"
    if facts.user is None:
        return "users: no user is involved"
    if policy.excludes_all_users or facts.user.id in policy.exclude_users:
        return "users: the user is excluded"
    if not policy.exclude_groups.isdisjoint(facts.user.groups):
        return "users: a group of the user is excluded"
    included = (
        policy.all_users
        or facts.user.id in policy.include_users
        or not policy.include_groups.isdisjoint(facts.user.groups)
    )
    return "" if included else "users: the user is not included"


def _check_controls(policy: AccessPolicy, facts: Facts) -> tuple[Reason | None, str]:
    unmet: list[tuple[Reason, str]] = []
    met: list[str] = []
    for control in policy.controls:
        if control == "block":
            return Reason.BLOCKED_BY_ACCESS_POLICY, "blocks access"
        compliant, source = find_device_fact(facts, COMPLIANT)
        if compliant:
            met.append(f"device is compliant ({source})")
        elif compliant is None:
            unmet.append((Reason.DEVICE_NOT_COMPLIANT, f"device is not known to be compliant ({source})"))
        else:
            unmet.append((Reason.DEVICE_NOT_COMPLIANT, f"device is not compliant ({source})"))
    if unmet and (policy.require_all or not met):
        return unmet[0]
    return None, "; ".join(met)
