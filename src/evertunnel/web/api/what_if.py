"""What would come of a sign-in or a tunnel: our own question with everything in the answer, and Graph's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select

from evertunnel.access.conditional.applications import build_application_key
from evertunnel.access.conditional.country_codes import find_country_problem
from evertunnel.access.conditional.devices import read_device_properties
from evertunnel.access.conditional.evaluate_request import build_evaluate_answer, read_evaluate_request
from evertunnel.access.conditional.evaluation import Evaluation, evaluate_access_policies
from evertunnel.access.conditional.sign_in import (
    INSIDER_RISK_LEVELS,
    PLATFORMS,
    VPN,
    VPN_NAMES,
    SignIn,
    read_address,
)
from evertunnel.access.conditional.strengths import METHODS
from evertunnel.access.decision import build_sign_in
from evertunnel.access.what_if import Prospect, Supposition, suppose
from evertunnel.actions.ask_what_if import Question, ask_what_if, gather
from evertunnel.diagnosis.reasons import explain
from evertunnel.model import AuthenticationMethod, CertificateKind, TunnelKind
from evertunnel.storage import tables
from evertunnel.web.api.context import Context

router = APIRouter(prefix="/v1/policies", tags=["policies"])


def _one_of(words: Sequence[str]) -> AfterValidator:
    """A word nobody knows would match nothing, and the answer would be wrong with confidence."""

    def verify(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return AfterValidator(verify)


_RISKS = _one_of(("none", "low", "medium", "high"))


def _verify_address(text: str) -> str:
    if read_address(text) is None:
        raise ValueError(f"{text[:80]!r} is no address such as 192.0.2.7")
    return text


def _verify_country(code: str) -> str:
    """Empty is an address that no country has."""
    if code and (problem := find_country_problem(code)):
        raise ValueError(problem)
    return code


class WhatIf(BaseModel):
    """Who does what, and what to suppose instead of what is known. `tunnel` null asks for a short-lived certificate."""

    model_config = ConfigDict(extra="forbid")
    user: str | None = None
    device: str | None = None
    gateway: str | None = None
    tunnel: TunnelKind | None = TunnelKind.USER
    certificate: CertificateKind | None = None
    address: Annotated[str, AfterValidator(_verify_address)] | None = None
    country: Annotated[str, AfterValidator(_verify_country)] | None = None
    platform: Annotated[str, _one_of(PLATFORMS)] | None = None
    compliant: bool | None = None
    domain_joined: bool | None = None
    own_tunnel: bool | None = None
    sign_in_risk: Annotated[str, _RISKS] | None = None
    user_risk: Annotated[str, _RISKS] | None = None
    insider_risk: Annotated[str, _one_of(INSIDER_RISK_LEVELS)] | None = None
    methods: list[Annotated[str, _one_of((*METHODS, *AuthenticationMethod))]] | None = None
    signed_in_at: AwareDatetime | None = None
    device_properties: dict[str, Any] = Field(default_factory=dict)


@router.post("/what-if")
def what_if(body: WhatIf, context: Context) -> dict[str, Any]:
    """Everything that would decide, whatever refuses first. Nothing is recorded or changed."""
    prospect = ask_what_if(
        context.store,
        Question(body.user, body.device, body.gateway, body.tunnel, body.certificate),
        Supposition(
            address=body.address,
            country=_find_country(context, body.address, body.country),
            platform=body.platform,
            compliant=body.compliant,
            domain_joined=body.domain_joined,
            own_tunnel=body.own_tunnel,
            sign_in_risk=body.sign_in_risk,
            user_risk=body.user_risk,
            insider_risk=body.insider_risk,
            methods=None if body.methods is None else tuple(body.methods),
            signed_in_at=body.signed_in_at,
            device=read_device_properties(body.device_properties, "$.device_properties"),
        ),
        find_place=context.find_place,
        now=context.clock(),
    )
    return _describe(prospect, body)


@router.post("/access/evaluate")
def evaluate(body: Annotated[Any, Body()], context: Context) -> dict[str, Any]:
    """As Graph's identity/conditionalAccess/evaluate: which policies apply to a sign-in, and why the others do not."""
    request = read_evaluate_request(body)
    supposition = Supposition(
        address=request.address,
        country=_find_country(context, request.address, request.country),
        platform=request.platform,
        compliant=request.compliant,
        sign_in_risk=request.sign_in_risk,
        user_risk=request.user_risk,
        insider_risk=request.insider_risk,
    )
    decider, facts = gather(
        context.store,
        Question(user=request.user, tunnel=None),
        address=request.address or "",
        find_place=context.find_place,
        now=context.clock(),
    )
    with context.store.read() as connection:
        columns = tables.access_policies.c
        rows = connection.execute(select(columns.name, columns.document, columns.resolved)).all()
    documents = {row.name: row.document for row in rows}
    sign_in = build_sign_in(suppose(facts, supposition))
    sign_in = replace(sign_in, applications=_name_applications(request.applications, [row.resolved for row in rows]))
    sign_in = _suppose_device(sign_in, request.device)
    if request.client_app is not None:
        sign_in = replace(sign_in, client_app=request.client_app)
    if request.transfer_method is not None:
        sign_in = replace(sign_in, transfer_method=request.transfer_method)
    evaluation = evaluate_access_policies(decider.policies.access, sign_in)
    outcomes = [outcome for outcome in evaluation.outcomes if outcome.result.policy in documents]
    return build_evaluate_answer(
        [documents[outcome.result.policy] for outcome in outcomes], outcomes, applied_only=request.applied_only
    )


def _name_applications(texts: Sequence[str], resolved: Sequence[Mapping[str, str]]) -> frozenset[str]:
    """What the applications asked about are called here: an id is what policies that were imported say it is."""
    prefix = build_application_key("")
    known = {
        key.removeprefix(prefix).lower(): name.lower()
        for each in resolved
        for key, name in each.items()
        if key.startswith(prefix)
    }
    names = frozenset(known.get(text.lower(), text.lower()) for text in texts)
    return VPN if names & VPN_NAMES else names


def _suppose_device(sign_in: SignIn, device: Mapping[str, Any]) -> SignIn:
    """The device is one that nobody has on record: all that is known of it is what the question says."""
    told_by = sign_in.told_by
    assert told_by is not None
    return replace(sign_in, device=device, told_by=lambda least: {**told_by(least), "device": device})


def _find_country(context: Context, address: str | None, supposed: str | None) -> str | None:
    """The country to suppose: where the address is, unless another is given."""
    parsed = None if address is None else read_address(address)
    if supposed is not None or parsed is None or context.find_country is None:
        return supposed
    return context.find_country(parsed)


def _describe(prospect: Prospect, question: WhatIf) -> dict[str, Any]:
    decision = prospect.decision
    explanation = explain(decision.reason, user=question.user, device=question.device, gateway=question.gateway)
    return {
        "outcome": decision.outcome.value,
        "reason": decision.reason.value,
        "detail": decision.detail,
        "cause": explanation.cause,
        "fix": explanation.fix,
        "obstacles": [{"reason": reason.value, "detail": detail} for reason, detail in prospect.obstacles],
        "network": [
            {"policy": result.policy, "result": result.result, "detail": result.detail} for result in prospect.network
        ],
        "access": _describe_access(prospect.access),
    }


def _describe_access(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "status": evaluation.status,
        "error_code": evaluation.error_code,
        "lifetime_seconds": evaluation.lifetime_seconds,
        "missing": [missing.control for missing in evaluation.missing],
        "policies": [
            {
                "policy": outcome.result.policy,
                "result": outcome.result.result,
                "detail": outcome.result.detail,
                "applies": outcome.applies,
                "condition": outcome.condition,
                "missing": [missing.control for missing in outcome.missing],
            }
            for outcome in evaluation.outcomes
        ],
    }
