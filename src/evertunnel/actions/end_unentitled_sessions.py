"""End live sessions that would not be granted now: lost compliance, a policy switched on, a user disabled."""

from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import replace
from datetime import datetime

from evertunnel.access.facts import Facts
from evertunnel.actions.decide import Decider
from evertunnel.model import AuthenticationMethod, Decision, LoginMethod, SessionState, TunnelKind
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.live_sessions import LiveRow
from evertunnel.storage.store import Transaction


def find_refusal(decider: Decider, row: LiveRow, *, now: datetime, lately: Set[str] = frozenset()) -> Decision | None:
    """Why a live session would not be granted now, if so. Reads nothing but the state in memory.

    `lately`: devices some tunnel of which moves in this very transaction.
    """
    facts = gather_session_facts(decider, row, now=now)
    if row.device_id in lately and facts.own_tunnel is not None:
        facts = replace(facts, own_tunnel=replace(facts.own_tunnel, lately=True))
    decision = decider.decide_tunnel(facts, with_results=False)
    return None if decision.granted else decision


def gather_session_facts(decider: Decider, row: LiveRow, *, now: datetime) -> Facts:
    """What is known of a live session now. Who logged in with a password did so when the session began."""
    method = None if row.method is None else LoginMethod(row.method)
    by_password = method is not None and method.by_password
    return decider.gather_facts(
        at=now,
        tunnel=TunnelKind(row.kind),
        gateway=decider.find_gateway(row.gateway_id),
        certificate=decider.find_certificate_by_id(row.certificate_id),
        client_address=row.remote_address,
        established=True,
        user=decider.find_user(row.user_id) if by_password else None,
        methods=(AuthenticationMethod.PASSWORD.value,) if by_password else (),
        signed_in_at=row.created_at if by_password else None,
        login_method=method,
        crypto_bound=row.crypto_bound,
    )


def list_unentitled(
    decider: Decider, rows: Iterable[LiveRow], *, now: datetime, lately: Set[str] = frozenset()
) -> list[tuple[LiveRow, Decision]]:
    """Those of live sessions that would not be granted now and are not ending yet, with why.

    `lately` as `find_refusal` has it.
    """
    return [
        (row, decision)
        for row in rows
        if row.state != SessionState.ENDING.value
        and (decision := find_refusal(decider, row, now=now, lately=lately)) is not None
    ]


def end_unentitled_sessions(
    tx: Transaction, decider: Decider, rows: Iterable[LiveRow], *, lately: Set[str] = frozenset()
) -> list[str]:
    """Decide every session of `rows` again; mark those refused as ending and queue their cut. Returns their ids.

    The decider must have been refreshed in this very transaction. `lately` as `find_refusal` has it.
    """
    ended = list_unentitled(decider, rows, now=tx.now, lately=lately)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row, decision in ended:
        by_reason[decision.reason.value].append(row.id)
    for reason, session_ids in by_reason.items():
        sessions.mark_ending(tx, session_ids, reason)
    effect_queue.queue_cuts(tx, [(row.gateway_id, row.id, decision.detail) for row, decision in ended])
    return [row.id for row, _ in ended]
