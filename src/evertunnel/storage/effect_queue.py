"""Effects, stored until confirmed.

One change may end the sessions of thousands. Their cuts are paced, so that the gateway and those who come back survive
it; whatever else is wanted of the gateway goes before them. What one transaction wanted has one `created_at`: by that
a mass is told from the one session of somebody who lost compliance.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update

from evertunnel.effects import Effect, EffectKind, EffectState, EffectSubject
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction, new_id
from evertunnel.storage.tables import AnyRow, encode_time

_effects = tables.effects
_NAMED_AT_MOST = 500
# More sessions than this, ended by one transaction on one gateway, are a mass.
MASS = 100


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done on a gateway now: `urgent` at once, of a mass the part `paced`. `others` wait their turn."""

    urgent: list[Effect]
    paced: list[Effect]
    others: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done now."""
        return not self.urgent and not self.paced


def queue_effect(
    tx: Transaction,
    kind: EffectKind,
    gateway_ids: Iterable[str],
    subject_kind: EffectSubject,
    subject_id: str,
    *,
    cause: str,
    denial_id: str | None = None,
) -> None:
    """Want something on each of some gateways."""
    tx.insert(
        _effects,
        [
            _build_row(tx, kind, gateway_id, subject_kind, subject_id, cause=cause, denial_id=denial_id)
            for gateway_id in gateway_ids
        ],
    )


def queue_cuts(tx: Transaction, cuts: Iterable[tuple[str, str, str]]) -> list[str]:
    """Want sessions cut: the gateway's id, the session's, and why in words. There may be thousands. Returns ids."""
    rows = [
        _build_row(tx, EffectKind.CUT, gateway_id, EffectSubject.SESSION, session_id, cause=cause)
        for gateway_id, session_id, cause in cuts
    ]
    tx.insert(_effects, rows)
    return [str(row["id"]) for row in rows]


def list_pending(connection: Connection, gateway_id: str) -> list[Effect]:
    """What is to be done on a gateway, the oldest first."""
    return _list_effects(connection, gateway_id)


def list_due(connection: Connection, gateway_id: str, *, paced_at_most: int) -> Due:
    """What is to be done on a gateway now, and of a mass at most so many: those tried least, then the oldest."""
    count = func.count()
    groups = connection.execute(
        select(_effects.c.created_at, count.label("effects"))
        .where(
            _effects.c.gateway_id == gateway_id,
            _effects.c.state == EffectState.PENDING.value,
            _effects.c.subject_kind == EffectSubject.SESSION.value,
        )
        .group_by(_effects.c.created_at)
        .having(count > MASS)
    ).all()
    if not groups:
        return Due(_list_effects(connection, gateway_id), [], others=False)
    is_mass = (_effects.c.subject_kind == EffectSubject.SESSION.value) & _effects.c.created_at.in_(
        [row.created_at for row in groups]
    )
    paced = _list_effects(connection, gateway_id, is_mass, at_most=paced_at_most) if paced_at_most else []
    others = sum(row.effects for row in groups) > len(paced)
    return Due(_list_effects(connection, gateway_id, ~is_mass), paced, others)


def _list_effects(
    connection: Connection, gateway_id: str, which: ColumnElement[bool] | None = None, *, at_most: int | None = None
) -> list[Effect]:
    statement = select(_effects).where(
        _effects.c.gateway_id == gateway_id, _effects.c.state == EffectState.PENDING.value
    )
    if which is not None:
        statement = statement.where(which)
    order = (_effects.c.created_at,) if at_most is None else (_effects.c.tries, _effects.c.created_at, _effects.c.id)
    return [
        Effect(
            row.id,
            EffectKind(row.kind),
            row.gateway_id,
            EffectSubject(row.subject_kind),
            row.subject_id,
            row.cause,
            row.created_at,
            row.denial_id,
            row.tries,
        )
        for row in connection.execute(statement.order_by(*order).limit(at_most))
    ]


def list_still_pending(connection: Connection, effect_ids: Sequence[str]) -> set[str]:
    """Those of some effects that were neither confirmed nor dropped."""
    found: set[str] = set()
    for start in range(0, len(effect_ids), _NAMED_AT_MOST):
        some = effect_ids[start : start + _NAMED_AT_MOST]
        found |= set(
            connection.execute(
                select(_effects.c.id).where(_effects.c.id.in_(some), _effects.c.state == EffectState.PENDING.value)
            ).scalars()
        )
    return found


def list_sessions_to_cut(connection: Connection, gateway_id: str) -> frozenset[str]:
    """Ids of the sessions whose own cut is still to come on a gateway."""
    return frozenset(
        connection.execute(
            select(_effects.c.subject_id).where(
                _effects.c.gateway_id == gateway_id,
                _effects.c.state == EffectState.PENDING.value,
                _effects.c.subject_kind == EffectSubject.SESSION.value,
            )
        ).scalars()
    )


def list_pending_subjects(connection: Connection, subject_ids: Collection[str]) -> set[str]:
    """Those of some subjects for which something is to be done anywhere."""
    return set(
        connection.execute(
            select(_effects.c.subject_id).where(
                _effects.c.subject_id.in_(subject_ids), _effects.c.state == EffectState.PENDING.value
            )
        ).scalars()
    )


def confirm_effects(tx: Transaction, effect_ids: Collection[str]) -> None:
    """They were seen to be so on the gateway. What was confirmed or dropped before stays as it is."""
    confirm = (
        update(_effects)
        .where(_effects.c.id == bindparam("effect_id"), _effects.c.state == EffectState.PENDING.value)
        .values(state=EffectState.CONFIRMED.value, confirmed_at=tx.now, tries=_effects.c.tries + 1, last_error="")
    )
    if effect_ids:
        tx.connection.execute(confirm, [{"effect_id": effect_id} for effect_id in effect_ids])


def acknowledge_effect(tx: Transaction, effect_id: str) -> None:
    """The gateway said that it did so, which nobody has seen yet; it stays pending. The first time counts."""
    tx.connection.execute(
        update(_effects)
        .where(
            _effects.c.id == effect_id,
            _effects.c.state == EffectState.PENDING.value,
            _effects.c.acknowledged_at.is_(None),
        )
        .values(acknowledged_at=tx.now)
    )


def note_failures(tx: Transaction, effect_ids: Collection[str], error: str) -> None:
    """They did not work this time; they stay pending."""
    note = (
        update(_effects)
        .where(_effects.c.id == bindparam("effect_id"))
        .values(tries=_effects.c.tries + 1, last_error=error[:500])
    )
    if effect_ids:
        tx.connection.execute(note, [{"effect_id": effect_id} for effect_id in effect_ids])


def drop_effects(tx: Transaction, subject_id: str) -> None:
    """Nothing is wanted of a subject any more: it was allowed again."""
    tx.connection.execute(
        update(_effects)
        .where(_effects.c.subject_id == subject_id, _effects.c.state == EffectState.PENDING.value)
        .values(state=EffectState.DROPPED.value, last_error="allowed again")
    )


def drop_effects_of_gateway(tx: Transaction, gateway_id: str, *, cause: str) -> int:
    """Nothing is wanted on a gateway any more; returns how many effects were pending."""
    return tx.connection.execute(
        update(_effects)
        .where(_effects.c.gateway_id == gateway_id, _effects.c.state == EffectState.PENDING.value)
        .values(state=EffectState.DROPPED.value, last_error=cause)
    ).rowcount


def list_of_denial(connection: Connection, denial_id: str) -> list[AnyRow]:
    """A denial's effects with their gateways' names, and why those do not answer, if they do not."""
    return list(
        connection.execute(
            select(
                _effects,
                tables.gateways.c.name.label("gateway_name"),
                tables.gateways.c.state_error.label("gateway_error"),
            )
            .outerjoin(tables.gateways, tables.gateways.c.id == _effects.c.gateway_id)
            .where(_effects.c.denial_id == denial_id)
            .order_by(tables.gateways.c.name_key)
        )
    )


def list_cuts(connection: Connection, effect_ids: Sequence[str]) -> list[AnyRow]:
    """Cuts of single sessions, with whose these are and why their gateways do not answer; ids of none are left out."""
    users, devices, gateways, sessions = tables.users, tables.devices, tables.gateways, tables.sessions
    statement = (
        select(
            _effects,
            sessions.c.kind.label("tunnel"),
            users.c.name.label("user_name"),
            devices.c.name.label("device_name"),
            gateways.c.name.label("gateway_name"),
            gateways.c.state_error.label("gateway_error"),
        )
        .join(sessions, sessions.c.id == _effects.c.subject_id)
        .outerjoin(users, users.c.id == sessions.c.user_id)
        .outerjoin(devices, devices.c.id == sessions.c.device_id)
        .outerjoin(gateways, gateways.c.id == _effects.c.gateway_id)
        .where(_effects.c.kind == EffectKind.CUT.value, _effects.c.subject_kind == EffectSubject.SESSION.value)
        .order_by(gateways.c.name_key, _effects.c.id)
    )
    found: list[AnyRow] = []
    for start in range(0, len(effect_ids), _NAMED_AT_MOST):
        some = effect_ids[start : start + _NAMED_AT_MOST]
        found += connection.execute(statement.where(_effects.c.id.in_(some)))
    return found


def _build_row(
    tx: Transaction,
    kind: EffectKind,
    gateway_id: str,
    subject_kind: EffectSubject,
    subject_id: str,
    *,
    cause: str,
    denial_id: str | None = None,
) -> dict[str, object]:
    return {
        "id": new_id(),
        "kind": kind.value,
        "gateway_id": gateway_id,
        "subject_kind": subject_kind.value,
        "subject_id": subject_id,
        "cause": cause,
        "denial_id": denial_id,
        "created_at": encode_time(tx.now),
        "state": EffectState.PENDING.value,
        "tries": 0,
        "last_error": "",
    }
