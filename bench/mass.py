"""A change that all of nearly ten thousand live sessions are decided again for, and a thousand of them end by."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from bench.simulated_strongswan import name_user
from evertunnel import clock
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_facts import import_facts
from evertunnel.effects import EffectState, EffectSubject
from evertunnel.storage import tables
from evertunnel.storage.store import Store

ENDED = 1_000
_POLICY: dict[str, Any] = {
    "displayName": "no risky users",
    "state": "enabled",
    "conditions": {
        "users": {"includeUsers": ["All"]},
        "applications": {"includeApplications": ["VPN"]},
        "userRiskLevels": ["high"],
    },
    "grantControls": {"operator": "OR", "builtInControls": ["block"]},
}


@dataclass(frozen=True, slots=True)
class Mass:
    """Seconds from the commit until another process reads which sessions end, and until the last was seen to be gone.

    Not before `decided` would a session's end be known to anybody: new logins are decided by the change at once.
    """

    decided: float
    cut: float


def measure_mass(store: Store, numbers: Sequence[int]) -> tuple[Mass, Mass]:
    """A policy about a fact of everybody, and then that fact of everybody anew. `numbers`: users with live sessions."""
    _import_risks(store, numbers, frozenset(numbers[:ENDED]))
    began = clock.now()
    import_access_policies(store, _POLICY, actor="bench", now=began)
    policy = _wait(store, clock.now())
    left = numbers[ENDED:]
    _import_risks(store, left, frozenset(left[:ENDED]))
    return policy, _wait(store, clock.now())


def _import_risks(store: Store, numbers: Sequence[int], risky: frozenset[int]) -> None:
    """Of all of them in one transaction."""
    rows = [f"{name_user(number)},user_risk,{'high' if number in risky else 'low'}" for number in numbers]
    import_facts(store, "\n".join(["user,fact,value", *rows]).encode(), source="mdm", actor="bench", now=clock.now())


def _wait(store: Store, committed: datetime) -> Mass:
    """From a commit on, until all have ended."""
    effects = tables.effects.c
    mine = (effects.subject_kind == EffectSubject.SESSION.value, effects.created_at >= committed - timedelta(seconds=1))
    queued = select(func.count()).where(*mine)
    while True:
        with store.read() as connection:
            if connection.execute(queued).scalar_one() == ENDED:
                break
        time.sleep(0.01)
    decided = clock.now()
    confirmed = select(func.max(effects.confirmed_at), func.count()).where(
        *mine, effects.state == EffectState.CONFIRMED.value
    )
    while True:
        with store.read() as connection:
            cut, count = connection.execute(confirmed).one()
        if count == ENDED:
            return Mass((decided - committed).total_seconds(), (cut - committed).total_seconds())
        time.sleep(0.1)
