"""The history of policies: who changed what and when, what differs, and back again."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from evertunnel.actions.compare_policy_versions import compare_versions, list_changes
from evertunnel.actions.policy_history import PolicyKind, Version
from evertunnel.actions.roll_back_policy import RolledBack, roll_back_policy
from evertunnel.storage.store import Store
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class Rollback(BaseModel):
    """Which policy, and to what version of it. `kind` where several things have the name."""

    model_config = ConfigDict(extra="forbid")
    name: str
    to: int
    kind: PolicyKind | None = None


@router.get("/history")
def list_history(
    context: Context,
    *,
    name: str | None = None,
    kind: PolicyKind | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 50,
) -> list[dict[str, Any]]:
    """The newest changes of a policy, or of all, the newest first."""
    changes = list_changes(context.store, name, kind, limit=limit)
    return [_describe(change.version) | {"change": change.words} for change in changes]


@router.get("/diff")
def diff(
    context: Context,
    name: str,
    *,
    kind: PolicyKind | None = None,
    before: Annotated[int | None, Query(alias="from")] = None,
    after: Annotated[int | None, Query(alias="to")] = None,
) -> dict[str, Any]:
    """What differs between two versions: the newest and the one before it, unless said otherwise."""
    found = compare_versions(context.store, name, kind, before=before, after=after)
    return {
        "from": None if found.before is None else _describe(found.before),
        "to": _describe(found.after),
        "from_document": found.before_document,
        "to_document": found.after_document,
        "lines": found.lines,
    }


@router.post("/rollback")
def roll_back(body: Rollback, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, Any]:
    """Put the document of a version in place again."""

    def change(store: Store) -> RolledBack:
        return roll_back_policy(store, body.name, body.to, kind=body.kind, actor=actor, now=context.clock())

    done = make_change(context, change, confirmed=confirmed)
    return {"kind": done.kind.value, "name": done.name, "to": done.to, "added": done.added}


def _describe(version: Version) -> dict[str, Any]:
    return {
        "kind": version.kind.value,
        "name": version.name,
        "version": version.number,
        "at": version.at.isoformat(),
        "actor": version.actor,
        "id": version.object_id,
        "audit": version.entry_id,
    }
