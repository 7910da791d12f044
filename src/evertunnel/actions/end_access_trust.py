"""Stop trusting retired access authorities once the last certificate they signed has ended."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.storage import access_authorities
from evertunnel.storage.snapshot import ACCESS_AUTHORITY
from evertunnel.storage.store import Store

_ACTOR = "the end of its last certificate"


def end_access_trust(store: Store, *, now: datetime) -> int:
    """Returns how many. Looks first, and takes the right to write only when there is something to do."""
    with store.read() as connection:
        if not access_authorities.list_ended_trust(connection, now):
            return 0
    with store.write(now) as tx:
        ended = access_authorities.list_ended_trust(tx.connection, tx.now)
        for row in ended:
            access_authorities.change_access_authority(tx, row.name, trust_ended_at=tx.now)
            tx.raise_epoch(ACCESS_AUTHORITY, row.name)
            tx.record(AuditEntry(Audit.ACCESS_AUTHORITY_END, _ACTOR, row.name))
    return len(ended)
