"""Graph's What If: reading the request of `conditionalAccess/evaluate`, and its answer (reference: 1.12).

Graph answers which policies apply, never whether access would be granted; its answer has no place for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evertunnel.access.conditional.evaluation import PolicyOutcome
from evertunnel.access.conditional.sign_in import CLIENT_APPS, INSIDER_RISK_LEVELS, PLATFORMS, RISK_LEVELS
from evertunnel.access.documents import (
    PolicyError,
    cut_text,
    is_set,
    list_unknown,
    quote,
    read_object,
    read_text,
    read_texts,
)

_USER_SIGN_IN = "#microsoft.graph.userSignIn"
_APPLICATION_CONTEXT = "#microsoft.graph.applicationContext"
# Graph names a property of devices otherwise here than in rules.
_DEVICE_NAMES = {"ownership": "deviceOwnership"}


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """Who signs in to what, and what to suppose of it. None is not given."""

    user: str
    applications: tuple[str, ...]
    applied_only: bool = False
    client_app: str | None = None
    platform: str | None = None
    address: str | None = None
    country: str | None = None
    sign_in_risk: str | None = None
    user_risk: str | None = None
    insider_risk: str | None = None
    transfer_method: str | None = None
    compliant: bool | None = None
    device: Mapping[str, Any] = field(default_factory=dict)


def read_evaluate_request(document: Any) -> EvaluateRequest:
    """Read a request. Raises PolicyError with the JSON path."""
    request = read_object(document, "$")
    _refuse(request, "$", ("signInIdentity", "signInContext", "signInConditions", "appliedPoliciesOnly"))
    identity = read_object(request.get("signInIdentity"), "$.signInIdentity")
    _verify_type(identity, "$.signInIdentity", _USER_SIGN_IN, "only people sign in to a VPN")
    context = read_object(request.get("signInContext"), "$.signInContext")
    _verify_type(context, "$.signInContext", _APPLICATION_CONTEXT, "the VPN is an application")
    applications = read_texts(context.get("includeApplications"), "$.signInContext.includeApplications")
    if not applications:
        raise PolicyError("$.signInContext.includeApplications", 'names no application: use ["VPN"]')
    path = "$.signInConditions"
    conditions = read_object(request.get("signInConditions") or {}, path)
    known = (
        "clientAppType", "devicePlatform", "ipAddress", "country", "signInRiskLevel", "userRiskLevel",
        "insiderRiskLevel", "authenticationFlow", "deviceInfo",
    )  # fmt: skip
    _refuse(conditions, path, known)

    def read(name: str, choices: Sequence[str] = ()) -> str | None:
        value = conditions.get(name)
        return read_text(value, f"{path}.{name}", choices=choices) if is_set(value) else None

    flow = conditions.get("authenticationFlow")
    device = conditions.get("deviceInfo")
    told = dict(read_object(device, f"{path}.deviceInfo")) if is_set(device) else {}
    compliant = told.pop("isCompliant", None)
    if compliant is not None and not isinstance(compliant, bool):
        raise PolicyError(f"{path}.deviceInfo.isCompliant", "must be true or false")
    return EvaluateRequest(
        user=read_text(identity.get("userId"), "$.signInIdentity.userId"),
        applications=applications,
        applied_only=request.get("appliedPoliciesOnly") is True,
        client_app=read("clientAppType", CLIENT_APPS),
        platform=read("devicePlatform", PLATFORMS),
        address=read("ipAddress"),
        country=read("country"),
        sign_in_risk=read("signInRiskLevel", RISK_LEVELS),
        user_risk=read("userRiskLevel", RISK_LEVELS),
        insider_risk=read("insiderRiskLevel", INSIDER_RISK_LEVELS),
        transfer_method=_read_flow(flow, f"{path}.authenticationFlow") if is_set(flow) else None,
        compliant=compliant,
        device={_DEVICE_NAMES.get(name, name): value for name, value in told.items() if "@odata" not in name},
    )


def build_evaluate_answer(
    documents: Sequence[Mapping[str, Any]], outcomes: Sequence[PolicyOutcome], *, applied_only: bool
) -> dict[str, Any]:
    """Graph's answer: each policy as it stands, whether it applies, and the one reason why it does not."""
    value = [
        {
            **document,
            "policyApplies": outcome.applies is not False,
            "analysisReasons": _name_reason(outcome),
        }
        for document, outcome in zip(documents, outcomes, strict=True)
        if outcome.applies is not False or not applied_only
    ]
    return {"value": value}


def _name_reason(outcome: PolicyOutcome) -> str:
    if outcome.applies is None:
        return "notEnoughInformation"
    return "notSet" if outcome.applies else outcome.condition


def _read_flow(value: Any, path: str) -> str:
    flow = read_object(value, path)
    return read_text(flow.get("transferMethod"), f"{path}.transferMethod")


def _verify_type(document: Mapping[str, Any], path: str, wanted: str, why: str) -> None:
    given = document.get("@odata.type", wanted)
    if given != wanted:
        raise PolicyError(f"{path}['@odata.type']", f"{quote(str(given))} cannot be asked about: {why}")


def _refuse(document: Mapping[str, Any], path: str, known: Sequence[str]) -> None:
    for unknown in list_unknown(document, path, known):
        raise PolicyError(cut_text(unknown), "is not known here, so an answer without it would mislead")
