"""Facts: what each source last said of a subject."""

from sqlalchemy import Connection, delete, insert, select

from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction

_facts = tables.facts


def store_fact(tx: Transaction, kind: SubjectKind, subject_id: str, fact: Fact) -> None:
    """Replace what this source said of this name before."""
    tx.connection.execute(
        delete(_facts).where(
            _facts.c.subject_kind == kind.value,
            _facts.c.subject_id == subject_id,
            _facts.c.name == fact.name,
            _facts.c.source == fact.source,
        )
    )
    tx.connection.execute(
        insert(_facts).values(
            subject_kind=kind.value,
            subject_id=subject_id,
            name=fact.name,
            source=fact.source,
            value=fact.value,
            observed_at=fact.observed_at,
            expires_at=fact.expires_at,
        )
    )


def list_facts(connection: Connection, kind: SubjectKind, subject_id: str) -> list[Fact]:
    """All that is known of a subject, stale facts included."""
    rows = connection.execute(
        select(_facts)
        .where(_facts.c.subject_kind == kind.value, _facts.c.subject_id == subject_id)
        .order_by(_facts.c.name, _facts.c.source)
    )
    return [Fact(row.name, row.value, row.source, row.observed_at, row.expires_at) for row in rows]
