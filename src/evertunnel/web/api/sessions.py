"""Sessions: tunnels that are up, or were; what gateways count; how much was used."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter

from evertunnel.actions.follow_tunnel import CLOSED
from evertunnel.actions.measure_sessions import By, measure_sessions
from evertunnel.errors import InvalidInputError
from evertunnel.storage import accounting, sessions
from evertunnel.storage.tables import AnyRow
from evertunnel.web.api.context import Context

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_STATISTICS_SINCE = timedelta(days=30)
# Far enough from the ends of the calendar for every zone and sum.
_FIRST_YEAR, _LAST_YEAR = 1971, 9000


@router.get("")
def list_sessions(context: Context, *, live: bool = True, limit: int = 1000) -> list[dict[str, Any]]:
    """Live ones, or with live=false all, the newest first."""
    with context.store.read() as connection:
        rows = sessions.list_sessions(connection, live_only=live, limit=_bound(limit))
    now = context.clock()
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
            "seconds": _count_seconds(row.up_at, row.ended_at or now),
            "end_reason": row.end_reason,
            "end_cause": row.end_cause or "",
            "end": _explain_end(row.end_reason, row.end_cause or ""),
            "bytes_in": row.bytes_in,
            "bytes_out": row.bytes_out,
        }
        for row in rows
    ]


@router.get("/unrecognised")
def list_unrecognised(context: Context, limit: int = 1000) -> list[dict[str, Any]]:
    """What gateways count and we never granted, the newest first. The names are what the gateway says."""
    with context.store.read() as connection:
        rows = accounting.list_unrecognised(connection, _bound(limit))
    return [_describe_unrecognised(row) for row in rows]


@router.get("/statistics")
def show_statistics(
    context: Context, *, since: datetime | None = None, until: datetime | None = None, by: By | None = None
) -> dict[str, Any]:
    """Sessions, time, octets, users, devices and the most at once; of the last 30 days unless told otherwise."""
    until = _in_utc(until) or context.clock()
    since = _in_utc(since) or until - _STATISTICS_SINCE
    if since >= until:
        raise InvalidInputError(f"there is no time between {since:%F %T} and {until:%F %T} UTC")
    with context.store.read() as connection:
        usage = measure_sessions(connection, since=since, until=until, by=by)
    return {"since": since, "until": until, "by": by, "usage": [asdict(line) for line in usage]}


def _describe_unrecognised(row: AnyRow) -> dict[str, Any]:
    return {
        "gateway": row.gateway_name,
        "acct_session_id": row.acct_session_id,
        "claimed_identity": row.user_name,
        "remote_address": row.remote_address,
        "virtual_addresses": row.virtual_addresses.split(),
        "began_at": row.began_at,
        "heard_at": row.updated_at,
        "ended_at": row.ended_at,
        "end": row.end_cause,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
    }


def _explain_end(reason: str, cause: str) -> str:
    """Our own reason is what was meant; the gateway's says more only where we had none."""
    if reason == CLOSED and cause:
        return f"{reason}: {cause}"
    return reason or cause


def _bound(limit: int) -> int:
    return min(max(limit, 1), 10_000)


def _count_seconds(began_at: datetime | None, ended_at: datetime) -> int | None:
    return max(0, round((ended_at - began_at).total_seconds())) if began_at is not None else None


def _in_utc(moment: datetime | None) -> datetime | None:
    """A time without a zone is UTC, as all that we print."""
    if moment is None:
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise InvalidInputError(f"{moment} is not a time at which there could be sessions")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
