"""Denials, and how far their effects are confirmed."""

from typing import Any

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict

from evertunnel.actions.allow import allow
from evertunnel.actions.deny import deny
from evertunnel.model import SubjectKind
from evertunnel.storage import denials, effect_queue
from evertunnel.web.api.confirmations import describe_confirmation
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/denials", tags=["denials"])


class NewDenial(BaseModel):
    """Whom to deny and why."""

    model_config = ConfigDict(extra="forbid")
    kind: SubjectKind
    name: str
    reason: str
    until: AwareDatetime | None = None
    revoke: bool = False


@router.get("")
def list_denials(context: Context) -> list[dict[str, Any]]:
    """Those that hold."""
    with context.store.read() as connection:
        rows = denials.list_standing(connection, context.clock())
    return [
        {
            "id": row.id,
            "kind": row.subject_kind,
            "name": row.user_name or row.device_name,
            "reason": row.reason,
            "denied_by": row.denied_by,
            "denied_at": row.denied_at,
            "until": row.until,
        }
        for row in rows
    ]


@router.post("", status_code=201)
def add(body: NewDenial, context: Context, actor: Actor) -> dict[str, Any]:
    """Deny now. The answer says which gateways have not confirmed yet; ask again for the rest."""
    denial_id = deny(
        context.store,
        body.kind,
        body.name,
        reason=body.reason,
        until=body.until,
        revoke=body.revoke,
        actor=actor,
        now=context.clock(),
    )
    return _describe(context, denial_id)


@router.get("/{denial}")
def show(denial: str, context: Context) -> dict[str, Any]:
    """How far a denial is confirmed, gateway by gateway, in milliseconds since its commit."""
    return _describe(context, denial)


@router.delete("/{kind}/{name}", status_code=204)
def lift(kind: SubjectKind, name: str, context: Context, actor: Actor) -> None:
    """Allow again."""
    allow(context.store, kind, name, actor=actor, now=context.clock())


def _describe(context: Context, denial_id: str) -> dict[str, Any]:
    with context.store.read() as connection:
        row = denials.get_denial(connection, denial_id)
        effects = effect_queue.list_of_denial(connection, denial_id)
    return {
        "id": row.id,
        "kind": row.subject_kind,
        "reason": row.reason,
        "denied_at": row.denied_at,
        "gateways": [
            {"gateway": effect.gateway_name, **describe_confirmation(effect, row.denied_at)} for effect in effects
        ],
    }
