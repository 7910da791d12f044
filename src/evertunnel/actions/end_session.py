"""End live sessions now, of nobody who is denied anything: whoever is cut may come back at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import SessionState, SubjectKind
from evertunnel.storage import effect_queue, people, sessions
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow

# A gateway of another make whose own administrator ended one says "an administrator ended it".
ENDED_HERE = "ended here by an administrator"


@dataclass(frozen=True, slots=True)
class EndedSessions:
    """The effects that cut them, one a session, and how many others of the same owner were ending already."""

    effect_ids: tuple[str, ...]
    ending_already: int = 0


def end_session(store: Store, session_id: str, *, actor: str, now: datetime) -> EndedSessions:
    """End one. Raises NotFoundError, and AlreadyExistsError when it ended or is ending, with why."""
    with store.write(now) as tx:
        row = sessions.find_session(tx.connection, session_id)
        if row is None:
            raise NotFoundError(f"there is no session {session_id!r}: `evertunnel session list` shows those that live")
        if row.state == SessionState.ENDED.value:
            raise AlreadyExistsError(f"session {row.id} ended already, at {row.ended_at:%F %T} UTC: {row.end_reason}")
        if row.state == SessionState.ENDING.value:
            raise AlreadyExistsError(f"session {row.id} is ending already: {row.end_reason}")
        return EndedSessions(_end(tx, [row], actor))


def end_sessions_of(store: Store, kind: SubjectKind, name: str, *, actor: str, now: datetime) -> EndedSessions:
    """End all of a user, or of a device (its users' tunnels included).

    Raises InvalidInputError for a group; NotFoundError, also when none lives; AlreadyExistsError when all are ending.
    """
    if kind not in (SubjectKind.USER, SubjectKind.DEVICE):
        raise InvalidInputError(f"a {kind.value} has no sessions: name a user or device")
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, kind, name)
        live = sessions.list_live_of_subject(tx.connection, kind, row.id)
        if not live:
            raise NotFoundError(f"{row.name} has no live session")
        staying = [each for each in live if each.state != SessionState.ENDING.value]
        if not staying:
            raise AlreadyExistsError(f"all live sessions of {row.name} ({len(live)}) are ending already")
        return EndedSessions(_end(tx, staying, actor), len(live) - len(staying))


def _end(tx: Transaction, rows: Sequence[AnyRow], actor: str) -> tuple[str, ...]:
    sessions.mark_ending(tx, [row.id for row in rows], ENDED_HERE)
    effect_ids = effect_queue.queue_cuts(tx, [(row.gateway_id, row.id, ENDED_HERE) for row in rows])
    users = people.find_names(tx.connection, SubjectKind.USER, {row.user_id for row in rows if row.user_id})
    devices = people.find_names(tx.connection, SubjectKind.DEVICE, {row.device_id for row in rows if row.device_id})
    # Nothing is decided otherwise: whoever looks after gateways follows the epoch, and so acts at once.
    for owner_id in {row.user_id or row.device_id or row.id for row in rows}:
        tx.raise_epoch((SubjectKind.USER if owner_id in users else SubjectKind.DEVICE).value, owner_id)
    for row in rows:
        user, device = users.get(row.user_id), devices.get(row.device_id)
        details = {"tunnel": row.kind, "user": user, "device": device, "gateway_id": row.gateway_id}
        tx.record(AuditEntry(Audit.SESSION_END, actor, user or device or "", row.id, details))
    return tuple(effect_ids)
