"""Denials: standing until lifted, or until their end."""

from datetime import datetime

from sqlalchemy import Connection, insert, or_, select, update

from evertunnel.errors import NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction, new_id
from evertunnel.storage.tables import AnyRow

_denials = tables.denials


def insert_denial(
    tx: Transaction, kind: SubjectKind, subject_id: str, *, reason: str, actor: str, until: datetime | None
) -> str:
    """Store a denial and return its id."""
    denial_id = new_id()
    tx.connection.execute(
        insert(_denials).values(
            id=denial_id,
            subject_kind=kind.value,
            subject_id=subject_id,
            reason=reason,
            denied_by=actor,
            denied_at=tx.now,
            until=until,
        )
    )
    return denial_id


def find_standing(connection: Connection, subject_id: str, now: datetime) -> AnyRow | None:
    """A denial that holds at a moment; of several the one that holds for longest."""
    return connection.execute(
        select(_denials)
        .where(
            _denials.c.subject_id == subject_id,
            _denials.c.lifted_at.is_(None),
            or_(_denials.c.until.is_(None), _denials.c.until > now),
        )
        .order_by(_denials.c.until.is_(None).desc(), _denials.c.until.desc())
    ).first()


def lift_denials(tx: Transaction, subject_id: str, *, actor: str) -> int:
    """Lift all denials of a subject; returns how many."""
    result = tx.connection.execute(
        update(_denials)
        .where(_denials.c.subject_id == subject_id, _denials.c.lifted_at.is_(None))
        .values(lifted_at=tx.now, lifted_by=actor)
    )
    return result.rowcount


def lift_denial(tx: Transaction, denial_id: str, *, actor: str) -> None:
    """Lift one."""
    tx.connection.execute(
        update(_denials)
        .where(_denials.c.id == denial_id, _denials.c.lifted_at.is_(None))
        .values(lifted_at=tx.now, lifted_by=actor)
    )


def get_denial(connection: Connection, denial_id: str) -> AnyRow:
    """A denial by id. Raises NotFoundError."""
    row = connection.execute(select(_denials).where(_denials.c.id == denial_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no denial {denial_id!r}")
    return row


def list_standing(connection: Connection, now: datetime) -> list[AnyRow]:
    """Denials that hold, with the names of whom they deny, the newest first."""
    statement = (
        select(
            _denials,
            tables.users.c.name.label("user_name"),
            tables.devices.c.name.label("device_name"),
        )
        .outerjoin(tables.users, tables.users.c.id == _denials.c.subject_id)
        .outerjoin(tables.devices, tables.devices.c.id == _denials.c.subject_id)
        .where(_denials.c.lifted_at.is_(None), or_(_denials.c.until.is_(None), _denials.c.until > now))
        .order_by(_denials.c.denied_at.desc())
    )
    return list(connection.execute(statement))


def list_ended(connection: Connection, now: datetime) -> list[AnyRow]:
    """Denials whose end came and that nobody lifted yet."""
    return list(connection.execute(select(_denials).where(_denials.c.lifted_at.is_(None), _denials.c.until <= now)))
