"""Lift the denials whose end came: without this their certificates would stay on hold for ever."""

from datetime import datetime

from evertunnel.actions.allow import release_subject
from evertunnel.model import SubjectKind
from evertunnel.storage import denials, people
from evertunnel.storage.store import Store

_ACTOR = "the end of the denial"


def end_denials(store: Store, *, now: datetime) -> int:
    """Returns how many ended. Looks first, and takes the right to write only when there is something to do."""
    with store.read() as connection:
        if not denials.list_ended(connection, now):
            return 0
    with store.write(now) as tx:
        ended = denials.list_ended(tx.connection, tx.now)
        for denial in ended:
            denials.lift_denial(tx, denial.id, actor=_ACTOR)
            # Whoever follows keeps what is in force, also while another denial goes on.
            tx.raise_epoch(denial.subject_kind, denial.subject_id)
            # A second denial of the same subject may still stand: then nothing is given back yet.
            if denials.find_standing(tx.connection, denial.subject_id, tx.now) is None:
                kind = SubjectKind(denial.subject_kind)
                row = people.get_subject(tx.connection, kind, denial.subject_id)
                release_subject(tx, kind, row, actor=_ACTOR, cause=f"denied until {denial.until:%F %T} UTC")
    return len(ended)
