"""End what came up by a password that an administrator replaced: whoever knew the old one is not let stay by it."""

from evertunnel.model import LoginMethod, SessionState, SubjectKind
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.store import Transaction

PASSWORD_CHANGED = "the password was changed"  # noqa: S105


def end_password_sessions(tx: Transaction, user_id: str) -> list[str]:
    """Mark a user's live sessions that a password opened as ending and queue their cut. Returns their ids.

    Those that a certificate opened stay: what proved them is still what it was. To be done in the transaction that
    changes the password: a login with the old one either is a session already, or is not recorded any more.
    """
    live = sessions.list_live_of_subject(tx.connection, SubjectKind.USER, user_id)
    opened = [row for row in live if row.method is not None and LoginMethod(row.method).by_password]
    # One that a denial ends is cut for this as well: lifting the denial must not give it back.
    waiting = effect_queue.list_pending_subjects(tx.connection, [row.id for row in opened])
    ended = [row for row in opened if row.id not in waiting]
    not_ending = [row.id for row in ended if row.state != SessionState.ENDING.value]
    sessions.mark_ending(tx, not_ending, PASSWORD_CHANGED)
    effect_queue.queue_cuts(tx, [(row.gateway_id, row.id, PASSWORD_CHANGED) for row in ended])
    return [row.id for row in ended]
