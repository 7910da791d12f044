"""Attempts: one record for each try to connect, with cause and fix in words."""

import asyncio
import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime
from starlette.concurrency import run_in_threadpool

from evertunnel.access.fact_import import defuse
from evertunnel.errors import InvalidInputError
from evertunnel.model import AttemptKind, Outcome, Reason, SubjectKind
from evertunnel.storage import attempts, gateways, people
from evertunnel.storage.attempts import METHODS, Wanted
from evertunnel.web.api.attempt_descriptions import describe, describe_whole
from evertunnel.web.api.context import APIContext, Context

router = APIRouter(prefix="/v1/attempts", tags=["attempts"])

_PAGE_AT_MOST = 1_000
_EXPORT_PAGE = 500
# Somebody who waits holds up a server that is told to end for no longer than this.
_WAIT_AT_MOST_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.5
_COLUMNS = (
    "id", "at", "kind", "outcome", "reason", "nps_reason_code", "nps_reason", "detail", "user", "device", "gateway",
    "claimed_identity", "client_address", "login_method", "eap_rounds", "tls_version", "tls_cipher", "tls_group",
    "duration_ms", "certificate_id", "session_id",
)  # fmt: skip


class Format(StrEnum):
    """What an export looks like."""

    CSV = "csv"
    JSON_LINES = "jsonl"


def read_wanted(
    context: Context,
    *,
    user: str | None = None,
    device: str | None = None,
    gateway: str | None = None,
    outcome: Outcome | None = None,
    reason: str | None = None,
    kind: AttemptKind | None = None,
    method: str | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> Wanted:
    """The filters of every route. What nobody knows is an error: a typing error must not look like quiet."""
    if method is not None and method not in METHODS:
        raise InvalidInputError(f"method: {method[:50]!r} is none of {', '.join(METHODS)}")
    if since is not None and until is not None and since >= until:
        raise InvalidInputError(f"since {since:%F %T} is not before until {until:%F %T}, so nothing is between them")
    with context.store.read() as connection:
        return Wanted(
            user_id=None if user is None else people.get_subject(connection, SubjectKind.USER, user).id,
            device_id=None if device is None else people.get_subject(connection, SubjectKind.DEVICE, device).id,
            gateway_id=None if gateway is None else gateways.get_gateway(connection, gateway).id,
            outcome=outcome,
            reason=None if reason is None else _read_reason(reason),
            kind=kind,
            method=method,
            since=since,
            until=until,
        )


Filters = Annotated[Wanted, Depends(read_wanted)]


@router.get("")
def list_attempts(
    context: Context,
    wanted: Filters,
    *,
    after: str | None = None,
    oldest_first: bool = False,
    limit: Annotated[int, Query(ge=1, le=_PAGE_AT_MOST)] = 50,
) -> list[dict[str, Any]]:
    """The newest first. `after` is the id of the last one of the page before."""
    with context.store.read() as connection:
        rows = attempts.list_attempts(connection, wanted, limit=limit, after=after, oldest_first=oldest_first)
    return [describe(row) for row in rows]


@router.get("/watch")
async def watch(
    request: Request,
    context: Context,
    wanted: Filters,
    *,
    after: str | None = None,
    wait_seconds: Annotated[float, Query(ge=0, le=_WAIT_AT_MOST_SECONDS)] = 2.0,
) -> dict[str, Any]:
    """What was recorded behind the place `after`, and the place for the next call; waits while there is nothing.

    Without `after` the place is now. Several calls, one after the other, miss nothing, whatever ends in between.
    """
    clock = asyncio.get_running_loop().time
    ends = clock() + wait_seconds
    known = after
    while True:
        rows, place = await run_in_threadpool(_look, context, wanted, known)
        if rows or after is None or clock() >= ends or await request.is_disconnected():
            return {"attempts": [describe(row) for row in rows], "after": place}
        known = place
        await asyncio.sleep(min(_LOOK_EVERY_SECONDS, max(0.0, ends - clock())))


@router.get("/export")
def export(context: Context, wanted: Filters, *, format: Format = Format.JSON_LINES) -> StreamingResponse:  # noqa: A002
    """All of them, the oldest first, as a stream that is never held in memory. Later ones than now are left out."""
    lines = _write_csv if format is Format.CSV else _write_json_lines
    now = context.clock()
    until = now if wanted.until is None else min(wanted.until, now)
    media_type = "text/csv; charset=utf-8" if format is Format.CSV else "application/jsonl"
    return StreamingResponse(lines(_list_pages(context, wanted, until)), media_type=media_type)


@router.get("/{attempt}")
def show(attempt: str, context: Context) -> dict[str, Any]:
    """One, with its ladder of steps, what each policy said, cause and fix."""
    with context.store.read() as connection:
        return describe_whole(connection, attempts.get_attempt(connection, attempt))


def _look(context: APIContext, wanted: Wanted, after: str | None) -> tuple[list[Any], str]:
    with context.store.read() as connection:
        return attempts.list_committed(connection, wanted, after=after, limit=_PAGE_AT_MOST)


def _list_pages(context: APIContext, wanted: Wanted, until: datetime) -> Iterator[list[dict[str, Any]]]:
    """Each page in a transaction of its own: a slow reader holds nothing in the database."""
    after: str | None = None
    bounded = replace(wanted, until=until)
    while True:
        with context.store.read() as connection:
            rows = attempts.list_attempts(connection, bounded, limit=_EXPORT_PAGE, after=after, oldest_first=True)
        yield [describe(row) for row in rows]
        if len(rows) < _EXPORT_PAGE:
            return
        after = rows[-1].id


def _write_json_lines(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    for page in pages:
        yield b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in page])


def _write_csv(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for page in pages:
        for row in page:
            writer.writerow([_cell(row[column]) for column in _COLUMNS])
        yield stream.getvalue().encode("utf-8", "replace")
        stream.seek(0)
        stream.truncate()


def _cell(value: Any) -> str:
    """Names come from anywhere: none is a formula to a spreadsheet, and none breaks a line."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return defuse(" ".join(value.split())) if isinstance(value, str) else str(value)


def _read_reason(text: str) -> Reason:
    try:
        return Reason(text)
    except ValueError:
        near = get_close_matches(text[:50], list(Reason), n=1, cutoff=0.4)
        hint = f" is it {near[0]}?" if near else ""
        raise InvalidInputError(f"reason: {text[:50]!r} is none;{hint} docs/attempts.md lists them") from None
