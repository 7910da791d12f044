"""Report the risk of a user or of his sign-ins. What a policy does not allow ends his live tunnels."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from evertunnel.access.fact_names import get_fact_name, read_value
from evertunnel.actions.report_device import verify_life
from evertunnel.actions.store_facts import store_facts
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store


def report_user(
    store: Store,
    user: str,
    said: Mapping[str, str],
    *,
    source: str,
    life: timedelta | None = None,
    actor: str,
    now: datetime,
) -> None:
    """Keep what a source says of a user by fact name, replacing what it said before of these names.

    Raises NotFoundError, InvalidInputError.
    """
    verify_life(life)
    known = [(get_fact_name(SubjectKind.USER, name), text) for name, text in said.items()]
    values = {name.name: read_value(name, text) for name, text in known}
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.USER, user)
        ends = None if life is None else tx.now + life
        facts = [Fact(name, value, source, tx.now, ends) for name, value in values.items()]
        store_facts(tx, SubjectKind.USER, {row.id: facts})
        tx.record(AuditEntry(Audit.USER_REPORT, actor, row.name, row.id, {**values, "source": source}))
