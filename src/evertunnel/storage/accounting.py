"""What gateways count: one row an Acct-Session-Id, and each restart of a gateway once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from evertunnel.model import Session, SessionState
from evertunnel.storage import tables
from evertunnel.storage.sessions import LIVE
from evertunnel.storage.store import Transaction, new_id
from evertunnel.storage.tables import AnyRow

_accounting = tables.accounting
_restarts = tables.gateway_restarts
_sessions = tables.sessions


def insert_record(tx: Transaction, **columns: Any) -> None:
    """Begin a record."""
    tx.connection.execute(insert(_accounting).values(id=new_id(), **columns))


def update_record(tx: Transaction, record_id: str, **columns: Any) -> None:
    """Change a record's columns."""
    tx.connection.execute(update(_accounting).where(_accounting.c.id == record_id).values(**columns))


def find_record(connection: Connection, gateway_id: str, acct_session_id: str) -> AnyRow | None:
    """The newest record of a gateway under this id: some gateways begin again with the same ids."""
    return connection.execute(
        select(_accounting)
        .where(_accounting.c.gateway_id == gateway_id, _accounting.c.acct_session_id == acct_session_id)
        .order_by(_accounting.c.began_at.desc(), _accounting.c.id)
    ).first()


def find_record_of_session(connection: Connection, like: AnyRow, session_id: str) -> AnyRow | None:
    """The newest record under the same id and of the same gateway that is this session's."""
    return connection.execute(
        select(_accounting)
        .where(
            _accounting.c.gateway_id == like.gateway_id,
            _accounting.c.acct_session_id == like.acct_session_id,
            _accounting.c.session_id == session_id,
        )
        .order_by(_accounting.c.began_at.desc(), _accounting.c.id)
    ).first()


def join_session(tx: Transaction, session: Session) -> None:
    """Give a session what its gateway began to count a moment before we knew of it."""
    tx.connection.execute(
        update(_accounting)
        .where(
            _accounting.c.gateway_id == session.gateway_id,
            _accounting.c.unique_id == session.unique_id,
            _accounting.c.virtual_addresses == session.virtual_addresses,
            _accounting.c.session_id.is_(None),
            _accounting.c.ended_at.is_(None),
        )
        .values(session_id=session.id)
    )


def find_session(connection: Connection, gateway_id: str, session_ids: Sequence[str]) -> AnyRow | None:
    """The session of this very gateway that has one of these ids."""
    if not session_ids:
        return None
    return connection.execute(
        select(_sessions).where(_sessions.c.id.in_(session_ids), _sessions.c.gateway_id == gateway_id)
    ).first()


def find_session_of_tunnel(
    connection: Connection, gateway_id: str, *, unique_id: int, virtual_addresses: str, ended_after: datetime
) -> AnyRow | None:
    """The newest session of a gateway with this number and these addresses, live or just ended."""
    return connection.execute(
        select(_sessions)
        .where(
            _sessions.c.gateway_id == gateway_id,
            _sessions.c.unique_id == unique_id,
            _sessions.c.virtual_addresses == virtual_addresses,
            _sessions.c.state.in_(LIVE) | (_sessions.c.ended_at > ended_after),
        )
        .order_by(_sessions.c.created_at.desc())
    ).first()


def remember_restart(tx: Transaction, gateway_id: str, authenticator: bytes, reason: str) -> bool:
    """Whether this restart was not told before."""
    known = tx.connection.execute(
        select(_restarts.c.at).where(_restarts.c.gateway_id == gateway_id, _restarts.c.authenticator == authenticator)
    ).first()
    if known is not None:
        return False
    tx.connection.execute(
        insert(_restarts).values(gateway_id=gateway_id, authenticator=authenticator, at=tx.now, reason=reason)
    )
    return True


def end_records(tx: Transaction, gateway_id: str, *, before: datetime, cause: str) -> None:
    """Close what a gateway began to count before a moment and did not stop."""
    tx.connection.execute(
        update(_accounting)
        .where(
            _accounting.c.gateway_id == gateway_id, _accounting.c.ended_at.is_(None), _accounting.c.began_at < before
        )
        .values(ended_at=tx.now, end_cause=cause)
    )


def list_silent(connection: Connection, before: datetime) -> list[AnyRow]:
    """Records not stopped and not heard of since a moment."""
    return list(
        connection.execute(
            select(_accounting).where(_accounting.c.ended_at.is_(None), _accounting.c.updated_at < before)
        )
    )


def list_silent_sessions(connection: Connection, session_ids: Sequence[str], before: datetime) -> list[AnyRow]:
    """Of these sessions the live ones that their gateway did not list either since a moment."""
    last_seen = func.coalesce(_sessions.c.seen_at, _sessions.c.up_at, _sessions.c.created_at)
    found: list[AnyRow] = []
    for at in range(0, len(session_ids), 500):  # a statement has only so many parameters
        found += connection.execute(
            select(_sessions).where(
                _sessions.c.id.in_(session_ids[at : at + 500]), _sessions.c.state.in_(LIVE), last_seen < before
            )
        )
    return found


def list_forgotten_sessions(connection: Connection, before: datetime) -> list[AnyRow]:
    """Sessions of gateways that are not ours whose records are all over, and of which nothing was heard since a moment.

    A restart ends records, and spares a session that is being ended or that began later by another clock.
    """
    records = select(_accounting.c.id).where(_accounting.c.session_id == _sessions.c.id)
    spoken_of = records.where(_accounting.c.ended_at.is_(None) | (_accounting.c.updated_at >= before))
    foreign = select(tables.gateways.c.id).where(tables.gateways.c.foreign)
    return list(
        connection.execute(
            select(_sessions).where(
                _sessions.c.gateway_id.in_(foreign),
                _sessions.c.state.in_((SessionState.UP.value, SessionState.ENDING.value)),
                records.exists(),
                ~spoken_of.exists(),
            )
        )
    )


def replace_cause(tx: Transaction, session_ids: Sequence[str], cause: str) -> None:
    """Say of the records of some sessions, which are over, that they are for another reason."""
    for at in range(0, len(session_ids), 500):
        named = _accounting.c.session_id.in_(session_ids[at : at + 500])
        tx.connection.execute(update(_accounting).where(named).values(end_cause=cause))


def list_unrecognised(connection: Connection, limit: int) -> list[AnyRow]:
    """What gateways count and we never granted, the newest first."""
    return list(
        connection.execute(
            select(_accounting, tables.gateways.c.name.label("gateway_name"))
            .outerjoin(tables.gateways, tables.gateways.c.id == _accounting.c.gateway_id)
            .where(_accounting.c.session_id.is_(None))
            .order_by(_accounting.c.began_at.desc())
            .limit(limit)
        )
    )
