"""Remove a group that no policy names. Its members stay, and so do the groups it is in."""

from datetime import datetime

from evertunnel.actions.policy_references import verify_unnamed
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store


def remove_group(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Whoever was in another group only through it is in that no more.

    Raises NotFoundError, InvalidInputError while a policy names it.
    """
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.GROUP, name)
        verify_unnamed(tx, row.id, row.name)
        members = len(people.list_members(tx.connection, row.id))
        people.delete_subject(tx, SubjectKind.GROUP, row.id)
        tx.raise_epoch(SubjectKind.GROUP.value, row.id)
        tx.record(AuditEntry(Audit.GROUP_REMOVE, actor, row.name, row.id, {"members": members}))
