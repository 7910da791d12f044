"""Report a fact about a device, such as whether it is compliant. Losing compliance ends its live user tunnels."""

from datetime import datetime, timedelta

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import facts, people
from evertunnel.storage.store import Store

_LONGEST_LIFE = timedelta(days=366)


def report_device(
    store: Store,
    device: str,
    name: str,
    *,
    value: bool,
    source: str,
    life: timedelta | None = None,
    actor: str,
    now: datetime,
) -> None:
    """Keep what a source says, replacing what it said before. After `life` it is unknown again; None: no end.

    Raises NotFoundError, InvalidInputError.
    """
    if life is not None and not timedelta(0) < life <= _LONGEST_LIFE:
        raise InvalidInputError("a fact lives longer than nothing and at most 366 days")
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.DEVICE, device)
        text = "true" if value else "false"
        fact = Fact(name, text, source, now, None if life is None else now + life)
        facts.store_fact(tx, SubjectKind.DEVICE, row.id, fact)
        tx.raise_epoch(SubjectKind.DEVICE.value, row.id)
        tx.record(AuditEntry(Audit.DEVICE_REPORT, actor, row.name, row.id, {name: text, "source": source}))
