"""Sessions whose gateway neither counts nor lists them any more: the gateway died, or lost them."""

from datetime import timedelta

from evertunnel.actions.account import SILENT
from evertunnel.model import SessionState
from evertunnel.storage import accounting, sessions
from evertunnel.storage.store import Transaction


def end_silent_sessions(tx: Transaction, *, silence: timedelta) -> int:
    """End what was not heard of for so long; returns how many sessions. We must have listened all that time."""
    before = tx.now - silence
    silent = accounting.list_silent(tx.connection, before)
    joined = sorted({record.session_id for record in silent if record.session_id})
    over = accounting.list_silent_sessions(tx.connection, joined, before)
    forgotten = accounting.list_forgotten_sessions(tx.connection, before)
    accounting.replace_cause(tx, [row.id for row in forgotten], SILENT)
    over += forgotten
    for row in over:
        sessions.end_session(tx, row.id, SILENT)
    ended = {row.id for row in over}
    for record in silent:
        if record.session_id is None or record.session_id in ended or _is_over(tx, record.session_id):
            accounting.update_record(tx, record.id, ended_at=record.updated_at, end_cause=SILENT)
    return len(over)


def _is_over(tx: Transaction, session_id: str) -> bool:
    row = sessions.find_session(tx.connection, session_id)
    return row is None or row.state == SessionState.ENDED.value
