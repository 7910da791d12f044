"""Graph's What If: reading the request of `conditionalAccess/evaluate`, and its answer (reference: 1.12).

Graph answers which policies apply, never whether access would be granted; its answer has no place for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evertunnel.access.conditional.country_codes import find_country_problem
from evertunnel.access.conditional.devices import read_device_properties
from evertunnel.access.conditional.evaluation import PolicyOutcome
from evertunnel.access.conditional.sign_in import (
    CLIENT_APPS,
    FLOWS,
    INSIDER_RISK_LEVELS,
    PLATFORMS,
    RISK_LEVELS,
    read_address,
)
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
    """Who signs in to what, and what to suppose of it. None is not given.

    `device` has the names that rules use. What it does not give of the device is not known.
    """

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
    _refuse(identity, "$.signInIdentity", ("userId",))
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
    device = _read_device(conditions.get("deviceInfo"), f"{path}.deviceInfo")
    return EvaluateRequest(
        user=read_text(identity.get("userId"), "$.signInIdentity.userId"),
        applications=applications,
        applied_only=request.get("appliedPoliciesOnly") is True,
        client_app=read("clientAppType", CLIENT_APPS),
        platform=read("devicePlatform", PLATFORMS),
        address=_verify_address(read("ipAddress"), f"{path}.ipAddress"),
        country=_verify_country(read("country"), f"{path}.country"),
        sign_in_risk=read("signInRiskLevel", RISK_LEVELS),
        user_risk=read("userRiskLevel", RISK_LEVELS),
        insider_risk=read("insiderRiskLevel", INSIDER_RISK_LEVELS),
        transfer_method=_read_flow(flow, f"{path}.authenticationFlow") if is_set(flow) else None,
        compliant=device.get("isCompliant"),
        device=device,
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
    return read_text(flow.get("transferMethod"), f"{path}.transferMethod", choices=FLOWS)


def _read_device(value: Any, path: str) -> Mapping[str, Any]:
    """Null and what is left out say nothing."""
    if not is_set(value):
        return {}
    told = {name: each for name, each in read_object(value, path).items() if "@odata" not in name}
    return read_device_properties(
        {_DEVICE_NAMES.get(name, name): each for name, each in told.items() if each is not None}, path, ours_too=True
    )


def _verify_address(text: str | None, path: str) -> str | None:
    if text is not None and read_address(text) is None:
        raise PolicyError(path, f"{quote(text)} is no address such as 192.0.2.7")
    return text


def _verify_country(text: str | None, path: str) -> str | None:
    if text is not None and (problem := find_country_problem(text)):
        raise PolicyError(path, problem)
    return text


def _verify_type(document: Mapping[str, Any], path: str, wanted: str, why: str) -> None:
    given = document.get("@odata.type", wanted)
    if given != wanted:
        raise PolicyError(f"{path}['@odata.type']", f"{quote(str(given))} cannot be asked about: {why}")


def _refuse(document: Mapping[str, Any], path: str, known: Sequence[str]) -> None:
    for unknown in list_unknown(document, path, known):
        raise PolicyError(cut_text(unknown), "is not known here, so an answer without it would mislead")
