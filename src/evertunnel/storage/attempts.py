"""Attempts as they were recorded. They never change."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import Outcome, Reason
from evertunnel.storage import tables
from evertunnel.storage.tables import AnyRow

_attempts = tables.attempts
_ROWS_AT_ONCE = 1000


def list_attempts(
    connection: Connection,
    *,
    user: str | None = None,
    device: str | None = None,
    outcome: str | None = None,
    reason: str | None = None,
    limit: int,
) -> list[AnyRow]:
    """The newest first, by names of users and devices."""
    statement = _select().order_by(_attempts.c.at.desc(), _attempts.c.id).limit(limit)
    if user is not None:
        statement = statement.where(tables.users.c.name_key == user.casefold())
    if device is not None:
        statement = statement.where(tables.devices.c.name_key == device.casefold())
    if outcome is not None:
        statement = statement.where(_attempts.c.outcome == outcome)
    if reason is not None:
        statement = statement.where(_attempts.c.reason == reason)
    return list(connection.execute(statement))


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
            (_attempts.c.at > moment) | ((_attempts.c.at == moment) & (_attempts.c.id > attempt_id))
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
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = list(connection.execute(_select().where(_attempts.c.id.like(f"{escaped}%", escape="\\")).limit(2)))
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
