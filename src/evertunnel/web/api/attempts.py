"""Attempts: one record for each try to connect, with cause and fix in words."""

import json
from typing import Any

from fastapi import APIRouter

from evertunnel.diagnosis.reasons import explain
from evertunnel.model import AttemptKind, LoginMethod, Outcome, Reason, SubjectKind
from evertunnel.storage import attempts, certificates, people
from evertunnel.web.api.context import Context

router = APIRouter(prefix="/v1/attempts", tags=["attempts"])


@router.get("")
def list_attempts(
    context: Context,
    *,
    user: str | None = None,
    device: str | None = None,
    outcome: Outcome | None = None,
    reason: Reason | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """The newest first. A user or device nobody knows is an error: a typing error must not look like quiet."""
    with context.store.read() as connection:
        for kind, name in ((SubjectKind.USER, user), (SubjectKind.DEVICE, device)):
            if name is not None:
                people.get_subject(connection, kind, name)
        rows = attempts.list_attempts(
            connection,
            user=user,
            device=device,
            outcome=outcome,
            reason=reason,
            limit=min(max(limit, 1), 10_000),
        )
    return [_describe(row) for row in rows]


@router.get("/{attempt}")
def show(attempt: str, context: Context) -> dict[str, Any]:
    """One, with its ladder of steps, what each policy said, cause and fix."""
    with context.store.read() as connection:
        row = attempts.get_attempt(connection, attempt)
        certificate = certificates.find_certificate(connection, row.certificate_id) if row.certificate_id else None
    story = json.loads(row.story)
    # How somebody signed in, in this attempt or for the short-lived certificate shown in it.
    methods, signed_in_at = story.get("methods", []), row.at
    if not methods and certificate is not None:
        methods, signed_in_at = certificate.methods.split(), certificate.signed_in_at
    explanation = explain(Reason(row.reason), user=row.user_name, device=row.device_name, gateway=row.gateway_name)
    return _describe(row) | {
        "steps": [{"at_ms": at_ms, "text": text} for at_ms, text in story["steps"]],
        "policies": [
            {"policy": policy, "kind": kind, "result": result, "detail": detail}
            for policy, kind, result, detail in story["policies"]
        ],
        "login_method": _find_login_method(row, story),
        "authentication_methods": methods,
        "signed_in_at": signed_in_at if methods else None,
        "cause": explanation.cause,
        "fix": explanation.fix,
    }


def _find_login_method(row: Any, story: dict[str, Any]) -> str | None:
    """How a client of a user tunnel logged in; None where nothing came to a decision."""
    facts = story.get("facts")
    if row.kind != AttemptKind.USER_TUNNEL.value or facts is None:
        return None
    return str(facts.get("method", [LoginMethod.EAP_TLS.value])[0])


def _describe(row: Any) -> dict[str, Any]:
    explanation = explain(Reason(row.reason))
    return {
        "id": row.id,
        "at": row.at,
        "kind": row.kind,
        "outcome": row.outcome,
        "reason": row.reason,
        "nps_reason_code": explanation.nps_code,
        "detail": row.detail,
        "gateway": row.gateway_name,
        "user": row.user_name,
        "device": row.device_name,
        "certificate_id": row.certificate_id,
        "session_id": row.session_id,
        "claimed_identity": row.claimed_identity,
        "client_address": row.client_address,
        "duration_ms": row.duration_microseconds / 1000,
    }
