"""Attempts as they were recorded. They never change."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import AttemptKind, AuthenticationMethod, LoginMethod, Outcome, Reason
from evertunnel.storage import tables
from evertunnel.storage.tables import AnyRow

_attempts = tables.attempts
_ROWS_AT_ONCE = 1000
# Ids are hex.
_BEGINNING, _BEHIND_ANY = re.compile("[0-9a-f]+", re.ASCII), "g"
_PLACE = re.compile(r"([0-9]{1,18})(?:/([0-9a-f]{1,64}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which attempts. None is any; `since` is the first moment and `until` the first one no more.

    `method` is one of METHODS. Records from before methods were kept are of EAP-TLS, which was all there was.
    """

    user_id: str | None = None
    device_id: str | None = None
    gateway_id: str | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    kind: AttemptKind | None = None
    method: str | None = None
    since: datetime | None = None
    until: datetime | None = None


ANY = Wanted()
# How somebody proved who he is: in the login of a user tunnel, at a sign-in for a certificate, with a device's key.
MACHINE_CERTIFICATE = "machine-certificate"
METHODS = (*LoginMethod, *AuthenticationMethod, MACHINE_CERTIFICATE)


def list_attempts(
    connection: Connection,
    wanted: Wanted = ANY,
    *,
    limit: int,
    after: str | None = None,
    oldest_first: bool = False,
) -> list[AnyRow]:
    """The newest first unless told otherwise, behind the one with the id `after`. Raises NotFoundError for that."""
    at, attempt_id = _attempts.c.at, _attempts.c.id
    order = (at, attempt_id) if oldest_first else (at.desc(), attempt_id.desc())
    statement = _restrict(_select(), wanted).order_by(*order).limit(limit)
    if after is not None:
        last = connection.execute(select(at, attempt_id).where(attempt_id == after)).one_or_none()
        if last is None:
            raise NotFoundError(f"there is no attempt {after!r} to go on from")
        behind = at > last.at if oldest_first else at < last.at
        beside = attempt_id > last.id if oldest_first else attempt_id < last.id
        # The first condition says nothing new: SQLite begins at that place of the index only if it is told so.
        from_there = at >= last.at if oldest_first else at <= last.at
        statement = statement.where(from_there, behind | ((at == last.at) & beside))
    return list(connection.execute(statement))


def list_committed(
    connection: Connection, wanted: Wanted, *, after: str | None, limit: int
) -> tuple[list[AnyRow], str]:
    """What was recorded behind a place, in the order of its commits, and the place to go on from. None: begin now.

    An attempt has the time at which it began, so one that is recorded later may be older: only commits are in order.
    Costs a look at one row while nothing is recorded. Raises InvalidInputError for a place that is none.
    """
    head = connection.execute(select(tables.ledger.c.batch_number)).scalar_one()
    if after is None:
        return [], str(head)
    place = _PLACE.fullmatch(after)
    if place is None:
        raise InvalidInputError(f"{after!r} names no place in the record")
    batch, last_id = int(place[1]), place[2]
    if batch > head or (batch == head and last_id is None):  # beyond the end: the database is an older one now
        return [], str(head)
    column, attempt_id = _attempts.c.batch, _attempts.c.id
    behind = column > batch
    if last_id is not None:
        behind = (column >= batch) & ((column > batch) | (attempt_id > last_id))
    statement = _restrict(_select(), wanted).where(behind, column <= head).order_by(column, attempt_id).limit(limit)
    rows = list(connection.execute(statement))
    return rows, f"{rows[-1].batch}/{rows[-1].id}" if len(rows) == limit else str(head)


def list_in_order(
    connection: Connection, *, since: datetime | None, until: datetime | None, after: str | None, limit: int
) -> list[AnyRow]:
    """The oldest first, from `since` and before `until`, behind the one that `after` names (`name_place`)."""
    statement = _select().order_by(_attempts.c.at, _attempts.c.id).limit(limit)
    if since is not None:
        statement = statement.where(_attempts.c.at >= since)
    if until is not None:
        statement = statement.where(_attempts.c.at < until)
    if after is not None:
        at, _, attempt_id = after.partition("/")
        try:
            moment: datetime | None = datetime.fromisoformat(at)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise InvalidInputError(f"{after!r} names no place in the attempts")
        statement = statement.where(
            _attempts.c.at >= moment,
            (_attempts.c.at > moment) | ((_attempts.c.at == moment) & (_attempts.c.id > attempt_id)),
        )
    return list(connection.execute(statement))


def list_recorded(
    connection: Connection, *, after_batch: int, until_batch: int, since: datetime | None
) -> Iterator[AnyRow]:
    """What was recorded in these batches, in their order, and began after a moment. There may be very many.

    Each with whether its device is its user's, and with its story only if it was refused.
    """
    names = ("id", "at", "kind", "outcome", "reason", "user_id", "device_id", "certificate_id", "claimed_identity")
    assigned = tables.device_users
    story = case((_attempts.c.outcome == Outcome.GRANTED.value, ""), else_=_attempts.c.story)
    statement = (
        select(
            *(_attempts.c[name] for name in names),
            _attempts.c.client_address,
            story.label("story"),
            assigned.c.user_id.is_not(None).label("assigned"),
        )
        .outerjoin(
            assigned, (assigned.c.device_id == _attempts.c.device_id) & (assigned.c.user_id == _attempts.c.user_id)
        )
        .where(_attempts.c.batch > after_batch, _attempts.c.batch <= until_batch, _attempts.c.user_id.is_not(None))
        .order_by(_attempts.c.batch, _attempts.c.at, _attempts.c.id)
    )
    if since is not None:
        statement = statement.where(_attempts.c.at > since)
    yield from connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(statement)


def name_place(row: AnyRow) -> str:
    """Where a list of attempts goes on after this one."""
    return f"{row.at.isoformat()}/{row.id}"


def count_failures(
    connection: Connection,
    *,
    device_id: str | None = None,
    user_id: str | None = None,
    reasons: Collection[Reason],
    since: datetime,
) -> int:
    """How many attempts of a device, or of a user, ended for one of some reasons after a moment."""
    whose = _attempts.c.device_id == device_id if user_id is None else _attempts.c.user_id == user_id
    reason = _attempts.c.reason.in_([reason.value for reason in reasons])
    counted = select(func.count()).select_from(_attempts).where(whose, reason, _attempts.c.at > since)
    return connection.execute(counted).scalar_one()


def get_attempt(connection: Connection, text: str) -> AnyRow:
    """An attempt by id or the beginning of one that is unique. Raises NotFoundError, InvalidInputError."""
    this = _attempts.c.id == text
    if _BEGINNING.fullmatch(text):
        # By their order: no index serves a LIKE, and there may be millions.
        this = (_attempts.c.id >= text) & (_attempts.c.id < text + _BEHIND_ANY)
    rows = list(connection.execute(_select().where(this).limit(2)))
    if not rows or not text:
        raise NotFoundError(f"there is no attempt {text!r}; `evertunnel attempt list` shows their ids")
    if len(rows) > 1:
        raise InvalidInputError(f"several attempts begin with {text!r}; give more of the id")
    return rows[0]


def _select() -> Select[Any]:
    return (
        select(
            _attempts,
            tables.users.c.name.label("user_name"),
            tables.devices.c.name.label("device_name"),
            tables.gateways.c.name.label("gateway_name"),
        )
        .outerjoin(tables.users, tables.users.c.id == _attempts.c.user_id)
        .outerjoin(tables.devices, tables.devices.c.id == _attempts.c.device_id)
        .outerjoin(tables.gateways, tables.gateways.c.id == _attempts.c.gateway_id)
    )


def _restrict(statement: Select[Any], wanted: Wanted) -> Select[Any]:
    columns = _attempts.c
    for column, value in (
        (columns.user_id, wanted.user_id),
        (columns.device_id, wanted.device_id),
        (columns.gateway_id, wanted.gateway_id),
        (columns.outcome, wanted.outcome),
        (columns.reason, wanted.reason),
        (columns.kind, wanted.kind),
    ):
        if value is not None:
            statement = statement.where(column == str(value))
    if wanted.since is not None:
        statement = statement.where(columns.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(columns.at < wanted.until)
    return statement if wanted.method is None else statement.where(_restrict_method(wanted.method))


def _restrict_method(method: str) -> ColumnElement[bool]:
    """By a piece of the story's JSON. Inside a text there each quotation mark has a backslash before it."""
    kind, story = _attempts.c.kind, _attempts.c.story
    if method == MACHINE_CERTIFICATE:
        return kind == AttemptKind.DEVICE_TUNNEL.value
    if method == AuthenticationMethod.PASSWORD:
        return story.like('%"methods":["password"%')
    if method == AuthenticationMethod.TOTP:
        return story.like('%"methods":["password","totp"]%')
    logged_in = story.like(f'%"login":{{"method":"{method}"%')
    if method != LoginMethod.EAP_TLS:
        return logged_in
    return logged_in | ((kind == AttemptKind.USER_TUNNEL.value) & story.not_like('%"login":{%'))
