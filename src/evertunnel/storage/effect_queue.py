"""Effects, stored until confirmed."""

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, bindparam, insert, select, update

from evertunnel.effects import Effect, EffectKind, EffectState, EffectSubject
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction, new_id
from evertunnel.storage.tables import AnyRow

_effects = tables.effects


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
    for gateway_id in gateway_ids:
        tx.connection.execute(
            insert(_effects).values(
                id=new_id(),
                kind=kind.value,
                gateway_id=gateway_id,
                subject_kind=subject_kind.value,
                subject_id=subject_id,
                cause=cause,
                denial_id=denial_id,
                created_at=tx.now,
                state=EffectState.PENDING.value,
                tries=0,
                last_error="",
            )
        )


def list_pending(connection: Connection, gateway_id: str) -> list[Effect]:
    """What is to be done on a gateway, the oldest first."""
    rows = connection.execute(
        select(_effects)
        .where(_effects.c.gateway_id == gateway_id, _effects.c.state == EffectState.PENDING.value)
        .order_by(_effects.c.created_at)
    )
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
        for row in rows
    ]


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
