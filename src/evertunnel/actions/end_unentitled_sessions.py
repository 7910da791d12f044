"""End live sessions that would not be granted now: lost compliance, a policy switched on, a user disabled."""

from collections.abc import Iterable, Set
from dataclasses import replace
from datetime import datetime

from evertunnel.access.facts import Facts
from evertunnel.actions.decide import Decider
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.model import Decision, SessionState, TunnelKind
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow


def find_refusal(decider: Decider, row: AnyRow, *, now: datetime, lately: Set[str] = frozenset()) -> Decision | None:
    """Why a live session would not be granted now, if so. Reads nothing but the state in memory.

    `lately`: devices some tunnel of which moves in this very transaction.
    """
    facts = gather_session_facts(decider, row, now=now)
    if row.device_id in lately and facts.own_tunnel is not None:
        facts = replace(facts, own_tunnel=replace(facts.own_tunnel, lately=True))
    decision = decider.decide_tunnel(facts, with_results=False)
    return None if decision.granted else decision


def gather_session_facts(decider: Decider, row: AnyRow, *, now: datetime) -> Facts:
    """What is known of a live session now."""
    return decider.gather_facts(
        at=now,
        tunnel=TunnelKind(row.kind),
        gateway=decider.find_gateway(row.gateway_id),
        certificate=decider.find_certificate_by_id(row.certificate_id),
        client_address=row.remote_address,
        established=True,
    )


def end_unentitled_sessions(
    tx: Transaction, decider: Decider, rows: Iterable[AnyRow], *, lately: Set[str] = frozenset()
) -> list[str]:
    """Decide every session of `rows` again; mark those refused as ending and queue their cut. Returns their ids.

    The decider must have been refreshed in this very transaction. `lately` as `find_refusal` has it.
    """
    ended = []
    for row in rows:
        if row.state == SessionState.ENDING.value:
            continue
        decision = find_refusal(decider, row, now=tx.now, lately=lately)
        if decision is None:
            continue
        sessions.mark_ending(tx, [row.id], decision.reason.value)
        effect_queue.queue_effect(
            tx, EffectKind.CUT, [row.gateway_id], EffectSubject.SESSION, row.id, cause=decision.detail
        )
        ended.append(row.id)
    return ended
