"""Report a fact about a device, such as whether it is compliant. Losing compliance ends its live user tunnels."""

from datetime import datetime, timedelta

from evertunnel.access.fact_import import LONGEST_LIFE
from evertunnel.actions.store_facts import store_facts
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store


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
    verify_life(life)
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.DEVICE, device)
        text = "true" if value else "false"
        fact = Fact(name, text, source, tx.now, None if life is None else tx.now + life)
        store_facts(tx, SubjectKind.DEVICE, {row.id: [fact]})
        tx.record(AuditEntry(Audit.DEVICE_REPORT, actor, row.name, row.id, {name: text, "source": source}))


def verify_life(life: timedelta | None) -> None:
    """Raise InvalidInputError for a life no fact can have."""
    if life is not None and not timedelta(0) < life <= LONGEST_LIFE:
        raise InvalidInputError("a fact lives longer than nothing and at most 366 days")
