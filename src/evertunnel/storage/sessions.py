"""Sessions: one row a tunnel, from the Accept (or the report of a device tunnel) to its end."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, or_, select, text, update

from evertunnel.model import Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import own_tunnels, tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow, encode_time

_sessions = tables.sessions
# A statement has room for only so many names; beyond that all are read.
NAMED_AT_MOST = 500
# The same in the words of the index of those that live, which are few among years of others.
_LIVES = text("sessions.state != 'ended'")
LIVE = (SessionState.PENDING.value, SessionState.UP.value, SessionState.ENDING.value)


def insert_sessions(tx: Transaction, sessions: Sequence[Session]) -> None:
    """Add sessions as they begin."""
    tx.insert(_sessions, [_build_row(session) for session in sessions])
    up = (each for each in sessions if each.kind is TunnelKind.DEVICE and each.state is SessionState.UP)
    own_tunnels.note_begins(tx, [each.device_id for each in up if each.device_id is not None])


def insert_session_later(tx: Transaction, session: Session) -> None:
    """Add a session with all others of the transaction, at its end."""
    tx.insert_later(_sessions, _build_row(session))


def find_session(connection: Connection, session_id: str) -> AnyRow | None:
    """A session by its id."""
    return connection.execute(select(_sessions).where(_sessions.c.id == session_id)).first()


def move_session(tx: Transaction, session_id: str, remote_address: str) -> frozenset[str]:
    """A tunnel goes on from another address; returns the devices whose own tunnels may be missed there."""
    update_session(tx, session_id, remote_address=remote_address)
    return own_tunnels.note_moves(tx, [session_id])


def update_session(tx: Transaction, session_id: str, **columns: Any) -> None:
    """Change a session's columns."""
    tx.connection.execute(update(_sessions).where(_sessions.c.id == session_id).values(**columns))


def store_traffic(tx: Transaction, octets: Mapping[str, tuple[int, int]]) -> None:
    """Octets in and out by session id, as just seen. One statement for all: there may be thousands."""
    if not octets:
        return
    tx.connection.execute(
        update(_sessions)
        .where(_sessions.c.id == bindparam("session_id"))
        .values(bytes_in=bindparam("octets_in"), bytes_out=bindparam("octets_out"), seen_at=tx.now),
        [
            {"session_id": session_id, "octets_in": came_in, "octets_out": went_out}
            for session_id, (came_in, went_out) in octets.items()
        ],
    )


def end_session(tx: Transaction, session_id: str, reason: str) -> None:
    """The tunnel is gone, or never came. The first reason stays: it is what was meant."""
    end_sessions(tx, {session_id: reason})


def end_sessions(tx: Transaction, reasons: Mapping[str, str]) -> None:
    """The same for many."""
    if not reasons:
        return
    rows = [{"session_id": session_id, "reason": reason} for session_id, reason in reasons.items()]
    this = _sessions.c.id == bindparam("session_id")
    tx.connection.execute(
        update(_sessions)
        .where(this, _sessions.c.state != SessionState.ENDED.value)
        .values(state=SessionState.ENDED.value, ended_at=tx.now),
        rows,
    )
    unexplained = update(_sessions).where(this, _sessions.c.end_reason == "").values(end_reason=bindparam("reason"))
    tx.connection.execute(unexplained, rows)
    own_tunnels.note_ends(tx, list(reasons))


def count_live(connection: Connection) -> int:
    """How many did not end."""
    return connection.execute(
        select(func.count()).select_from(_sessions).where(_sessions.c.state.in_(LIVE))
    ).scalar_one()


def list_live(connection: Connection) -> list[AnyRow]:
    """All that did not end."""
    return list(connection.execute(select(_sessions).where(_LIVES)))


def list_live_of_gateway(connection: Connection, gateway_id: str) -> list[AnyRow]:
    """Sessions of a gateway that did not end, the newest first: an old row never takes a new tunnel's number."""
    return list(
        connection.execute(
            select(_sessions)
            .where(_sessions.c.gateway_id == gateway_id, _sessions.c.state.in_(LIVE))
            .order_by(_sessions.c.created_at.desc())
        )
    )


def list_live_of_owners(connection: Connection, gateway_id: str, owner_ids: Set[str]) -> list[AnyRow]:
    """Those of them that belong to any of some users, devices or certificates, or have one of these ids themselves."""
    if len(owner_ids) > NAMED_AT_MOST:
        return [
            row
            for row in list_live_of_gateway(connection, gateway_id)
            if not owner_ids.isdisjoint((row.user_id, row.device_id, row.certificate_id, row.id))
        ]
    columns = (_sessions.c[name] for name in ("user_id", "device_id", "certificate_id", "id"))
    return list(
        connection.execute(
            select(_sessions).where(
                _sessions.c.gateway_id == gateway_id,
                _sessions.c.state.in_(LIVE),
                or_(*(column.in_(owner_ids) for column in columns)),
            )
        )
    )


def list_owners_of_gateway(connection: Connection, gateway_id: str) -> list[AnyRow]:
    """The same sessions, with nothing but what joins them to tunnels and to their owners: there may be very many."""
    columns = (_sessions.c[name] for name in ("id", "kind", "unique_id", "spis", "user_id", "device_id"))
    return list(
        connection.execute(
            select(*columns)
            .where(_sessions.c.gateway_id == gateway_id, _sessions.c.state.in_(LIVE))
            .order_by(_sessions.c.created_at.desc())
        )
    )


def list_ending_by_themselves(connection: Connection, gateway_id: str) -> list[AnyRow]:
    """Sessions that are up and have an end of their own."""
    return list(
        connection.execute(
            select(_sessions).where(
                _sessions.c.gateway_id == gateway_id,
                _sessions.c.state == SessionState.UP.value,
                _sessions.c.ends_at.is_not(None),
            )
        )
    )


def list_live_of_tunnel(connection: Connection, gateway_id: str, *, spis: str, unique_id: int) -> list[AnyRow]:
    """Those of a gateway that may be this tunnel's, by its indexes or its number, the newest first."""
    return list(
        connection.execute(
            select(_sessions)
            .where(
                _sessions.c.gateway_id == gateway_id,
                _sessions.c.state.in_(LIVE),
                (_sessions.c.spis == spis) | (_sessions.c.unique_id == unique_id),
            )
            .order_by(_sessions.c.created_at.desc())
        )
    )


def list_live_of_subject(connection: Connection, kind: SubjectKind, subject_id: str) -> list[AnyRow]:
    """Live sessions of a user or of a device (its user tunnels included)."""
    column = _sessions.c.user_id if kind is SubjectKind.USER else _sessions.c.device_id
    return list(connection.execute(select(_sessions).where(column == subject_id, _sessions.c.state.in_(LIVE))))


def mark_ending(tx: Transaction, session_ids: Sequence[str], reason: str) -> None:
    """The tunnels must go; the gateway has to confirm it."""
    for start in range(0, len(session_ids), NAMED_AT_MOST):
        tx.connection.execute(
            update(_sessions)
            .where(_sessions.c.id.in_(session_ids[start : start + NAMED_AT_MOST]), _sessions.c.state.in_(LIVE))
            .values(state=SessionState.ENDING.value, end_reason=reason)
        )
    own_tunnels.note_ends(tx, session_ids)


def unmark_ending(tx: Transaction, session_ids: Sequence[str]) -> None:
    """The tunnels may stay after all: one that came up is up again, one that did not is waited for."""
    came_up = case((_sessions.c.up_at.is_(None), SessionState.PENDING.value), else_=SessionState.UP.value)
    tx.connection.execute(
        update(_sessions)
        .where(_sessions.c.id.in_(session_ids), _sessions.c.state == SessionState.ENDING.value)
        .values(state=came_up, end_reason="")
    )
    device_tunnels = select(_sessions.c.device_id).where(
        _sessions.c.id.in_(session_ids), _sessions.c.kind == TunnelKind.DEVICE.value, _sessions.c.device_id.is_not(None)
    )
    own_tunnels.note_begins(tx, tx.connection.execute(device_tunnels).scalars())


def list_sessions(
    connection: Connection,
    *,
    live_only: bool,
    limit: int,
    user_id: str | None = None,
    device_id: str | None = None,
    gateway_id: str | None = None,
) -> list[AnyRow]:
    """Sessions with the names of whom they belong to, the newest first. What is None is not looked at."""
    wanted = select(_sessions).order_by(_sessions.c.created_at.desc()).limit(limit)
    if live_only:
        wanted = wanted.where(_LIVES)
    named = ((_sessions.c.user_id, user_id), (_sessions.c.device_id, device_id), (_sessions.c.gateway_id, gateway_id))
    for column, value in named:
        if value is not None:
            wanted = wanted.where(column == value)
    # Chosen first: nothing is looked up for those that are not shown.
    found = wanted.subquery()
    statement = (
        select(
            found,
            tables.users.c.name.label("user_name"),
            tables.devices.c.name.label("device_name"),
            tables.gateways.c.name.label("gateway_name"),
            # A gateway may have counted under several ids; any that said why it ended will do.
            select(func.max(tables.accounting.c.end_cause))
            .where(tables.accounting.c.session_id == found.c.id)
            .scalar_subquery()
            .label("end_cause"),
        )
        .outerjoin(tables.users, tables.users.c.id == found.c.user_id)
        .outerjoin(tables.devices, tables.devices.c.id == found.c.device_id)
        .outerjoin(tables.gateways, tables.gateways.c.id == found.c.gateway_id)
        .order_by(found.c.created_at.desc())
    )
    return list(connection.execute(statement))


def list_pending_older(connection: Connection, before: datetime) -> list[AnyRow]:
    """Sessions that were granted before a moment and never came up."""
    return list(
        connection.execute(
            select(_sessions).where(_sessions.c.state == SessionState.PENDING.value, _sessions.c.created_at < before)
        )
    )


def _build_row(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "kind": session.kind.value,
        "state": session.state.value,
        "gateway_id": session.gateway_id,
        "unique_id": session.unique_id,
        "spis": session.spis,
        "user_id": session.user_id,
        "device_id": session.device_id,
        "certificate_id": session.certificate_id,
        "attempt_id": session.attempt_id,
        "remote_address": session.remote_address,
        "virtual_addresses": session.virtual_addresses,
        "created_at": encode_time(session.created_at),
        "up_at": encode_time(session.created_at) if session.state is SessionState.UP else None,
        "end_reason": "",
        "bytes_in": 0,
        "bytes_out": 0,
        "method": session.method,
        "crypto_bound": session.crypto_bound,
    }
