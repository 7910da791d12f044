"""Sessions: tunnels that are up, or were."""

from typing import Any

from fastapi import APIRouter

from evertunnel.storage import sessions
from evertunnel.web.api.context import Context

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.get("")
def list_sessions(context: Context, *, live: bool = True, limit: int = 1000) -> list[dict[str, Any]]:
    """Live ones, or with live=false all, the newest first."""
    with context.store.read() as connection:
        rows = sessions.list_sessions(connection, live_only=live, limit=min(max(limit, 1), 10_000))
    return [
        {
            "id": row.id,
            "kind": row.kind,
            "state": row.state,
            "gateway": row.gateway_name,
            "user": row.user_name,
            "device": row.device_name,
            "remote_address": row.remote_address,
            "virtual_addresses": row.virtual_addresses.split(),
            "created_at": row.created_at,
            "up_at": row.up_at,
            "seen_at": row.seen_at,
            "ended_at": row.ended_at,
            "end_reason": row.end_reason,
            "bytes_in": row.bytes_in,
            "bytes_out": row.bytes_out,
        }
        for row in rows
    ]
