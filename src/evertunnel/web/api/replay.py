"""Trying a draft of the conditional access policies on recorded attempts."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from evertunnel.access.replay import Difference
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.replay_attempts import Draft, build_draft, replay_page
from evertunnel.web.api.access_policies import ImportedFile
from evertunnel.web.api.context import Context

router = APIRouter(prefix="/v1/policies/access", tags=["policies"])


class Replay(BaseModel):
    """The draft, as files and `map` of an import, and which attempts. `after` is what the page before gave."""

    model_config = ConfigDict(extra="forbid")
    files: list[ImportedFile] = Field(default_factory=list, max_length=1000)
    map: dict[str, str] = Field(default_factory=dict)
    states: dict[str, Literal["on", "off", "report-only"]] = Field(default_factory=dict)
    alone: bool = False
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    after: str | None = None
    limit: int = Field(default=5_000, ge=1, le=10_000)


@router.post("/replay")
def replay(body: Replay, context: Context) -> dict[str, Any]:
    """Who would newly be granted or refused. Nothing is recorded or changed."""
    files = [PolicyFile(file.name, file.data) for file in body.files]
    draft = Draft(files, body.states, body.alone, body.map)
    policies = build_draft(context.store, draft)
    page = replay_page(context.store, policies, since=body.since, until=body.until, after=body.after, limit=body.limit)
    return {
        "looked_at": page.looked_at,
        "skipped": page.skipped,
        "after": page.after,
        "differences": [_describe(difference) for difference in page.differences],
    }


def _describe(difference: Difference) -> dict[str, Any]:
    attempt, decision = difference.attempt, difference.decision
    facts = attempt.facts
    return {
        "attempt": attempt.id,
        "at": attempt.at.isoformat(),
        "what": "certificate" if facts.tunnel is None else f"{facts.tunnel.value} tunnel",
        "user": facts.user.name if facts.user else None,
        "device": facts.device.name if facts.device else None,
        "was": "granted" if attempt.granted else attempt.reason,
        "would_be": "granted" if decision.granted else decision.reason.value,
        "detail": decision.detail,
    }
