"""The audit, and whether it and the attempts are as they were written."""

import json
from typing import Any

from fastapi import APIRouter
from sqlalchemy import select

from evertunnel.storage import tables
from evertunnel.storage.verify_chain import verify_chain
from evertunnel.web.api.context import Context

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("")
def list_audit(context: Context, *, limit: int = 50) -> list[dict[str, Any]]:
    """The newest first."""
    with context.store.read() as connection:
        rows = connection.execute(
            select(tables.audit).order_by(tables.audit.c.at.desc()).limit(min(max(limit, 1), 10_000))
        ).all()
    return [
        {
            "id": row.id,
            "at": row.at,
            "name": row.name,
            "actor": row.actor,
            "subject": row.subject,
            "subject_id": row.subject_id,
            "details": json.loads(row.details),
            "batch": row.batch,
        }
        for row in rows
    ]


@router.get("/verification")
def verify(context: Context, *, expect: str | None = None) -> dict[str, Any]:
    """Compute the hash chain anew and say what does not fit. `expect` is a head noted earlier."""
    with context.store.read() as connection:
        result = verify_chain(connection, expected_head=expect)
    return {"batches": result.batches, "head": result.head.hex(), "problems": result.problems}
