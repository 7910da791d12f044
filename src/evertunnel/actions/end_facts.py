"""Facts that ran out since the last look: whoever decided by them decides again, and verdicts over them follow.

A fact's end takes it away by itself at the next decision; this makes sure that there is a next one.
"""

from datetime import datetime, timedelta

from evertunnel.actions.store_facts import store_facts
from evertunnel.storage import facts
from evertunnel.storage.store import Store

# Fewer than make whoever follows read everything anew.
_AT_ONCE = 400


def end_facts(store: Store, *, since: datetime, now: datetime) -> int:
    """Returns of how many users and devices something ran out after `since`. Writes only when there is something."""
    with store.read() as connection:
        ended = facts.list_run_out(connection, since, now)
    for kind, subject_ids in ended.items():
        for start in range(0, len(subject_ids), _AT_ONCE):
            with store.write(now) as tx:
                store_facts(tx, kind, dict.fromkeys(subject_ids[start : start + _AT_ONCE], ()), ran_out=True)
    return sum(map(len, ended.values()))


def find_seconds_left(store: Store, *, now: datetime, at_most: float) -> float:
    """How long until the next fact runs out, at most so long."""
    with store.read() as connection:
        ends = facts.find_next_end(connection, now)
    return at_most if ends is None else min(at_most, (ends - now) / timedelta(seconds=1))
