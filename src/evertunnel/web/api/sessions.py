"""Sessions: tunnels that are up, or were; what gateways count; how much was used."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from evertunnel.actions.end_session import ENDED_HERE, end_session, end_sessions_of
from evertunnel.actions.follow_tunnel import CLOSED
from evertunnel.actions.measure_sessions import By, measure_sessions
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.storage import accounting, effect_queue, gateways, people, sessions
from evertunnel.storage.tables import AnyRow
from evertunnel.web.api.confirmations import describe_confirmation
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_STATISTICS_SINCE = timedelta(days=30)
# Far enough from the ends of the calendar for every zone and sum.
_FIRST_YEAR, _LAST_YEAR = 1971, 9000


class Ending(BaseModel):
    """What to end: one session by its id, or all of a user or a device by name."""

    model_config = ConfigDict(extra="forbid")
    session: str | None = Field(default=None, max_length=64)
    user: str | None = None
    device: str | None = None


@router.get("")
def list_sessions(
    context: Context,
    *,
    live: bool = True,
    limit: int = 1000,
    user: str | None = None,
    device: str | None = None,
    gateway: str | None = None,
) -> list[dict[str, Any]]:
    """Live ones, or with live=false all, the newest first: of everybody, or of a user, a device, a gateway."""
    with context.store.read() as connection:
        rows = sessions.list_sessions(
            connection,
            live_only=live,
            limit=_bound(limit),
            user_id=None if user is None else people.get_subject(connection, SubjectKind.USER, user).id,
            device_id=None if device is None else people.get_subject(connection, SubjectKind.DEVICE, device).id,
            gateway_id=None if gateway is None else gateways.get_gateway(connection, gateway).id,
        )
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


@router.post("/end", status_code=202)
def end(body: Ending, context: Context, actor: Actor) -> dict[str, Any]:
    """End live sessions now and deny nobody. The answer says which cuts are not confirmed yet; ask again for those."""
    named = body.model_dump(exclude_none=True)
    if len(named) != 1:
        raise InvalidInputError("name one session, one user or one device to end, and not more than that")
    ((what, name),) = named.items()
    now = context.clock()
    if what == "session":
        ended = end_session(context.store, name, actor=actor, now=now)
    else:
        ended = end_sessions_of(context.store, SubjectKind(what), name, actor=actor, now=now)
    return {
        "reason": ENDED_HERE,
        "ending_already": ended.ending_already,
        "sessions": _describe_cuts(context, ended.effect_ids),
    }


@router.get("/end")
def show_ends(context: Context, effect: Annotated[list[str], Query(max_length=500)]) -> list[dict[str, Any]]:
    """How far cuts are confirmed, by the ids of their effects, in milliseconds since the commit."""
    return _describe_cuts(context, effect)


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
    """Sessions, time, octets, users, devices and the most at once; of the last 30 days unless told otherwise.

    `until` is now at the latest: what is up has not lasted longer.
    """
    now = context.clock()
    until = min(_in_utc(until) or now, now)
    since = _in_utc(since) or until - _STATISTICS_SINCE
    if since >= until:
        raise InvalidInputError(f"there is no time between {since:%F %T} and {until:%F %T} UTC")
    with context.store.read() as connection:
        usage = measure_sessions(connection, since=since, until=until, by=by)
    return {"since": since, "until": until, "by": by, "usage": [asdict(line) for line in usage]}


def _describe_cuts(context: Context, effect_ids: Sequence[str]) -> list[dict[str, Any]]:
    with context.store.read() as connection:
        rows = effect_queue.list_cuts(connection, effect_ids)
    return [
        {
            "effect": row.id,
            "session": row.subject_id,
            "kind": row.tunnel,
            "user": row.user_name,
            "device": row.device_name,
            "gateway": row.gateway_name,
            **describe_confirmation(row, row.created_at),
        }
        for row in rows
    ]


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
