"""Facts: what each source last said of a subject."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, select

from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow, encode_time

_facts = tables.facts
# More are read together with all others: a statement has room for only so many names.
_NAMED_AT_MOST = 500
_ROWS_AT_ONCE = 10_000

# A subject's fact by the name and the source, which is all a source can say of a name.
FactKey = tuple[str, str, str]


def store_fact(tx: Transaction, kind: SubjectKind, subject_id: str, fact: Fact) -> None:
    """Replace what this source said of this name before."""
    replace_facts(tx, kind, [(subject_id, fact)])


def replace_facts(
    tx: Transaction, kind: SubjectKind, said: Iterable[tuple[str, Fact]], *, gone: Iterable[FactKey] = ()
) -> None:
    """Store many, each for what its source said of its name before, and take back those `gone`."""
    rows = [_build_row(kind, subject_id, fact) for subject_id, fact in said]
    keys = [(row["subject_id"], row["name"], row["source"]) for row in rows] + list(gone)
    this = (
        (_facts.c.subject_kind == kind.value)
        & (_facts.c.subject_id == bindparam("a_subject"))
        & (_facts.c.name == bindparam("a_name"))
        & (_facts.c.source == bindparam("a_source"))
    )
    for start in range(0, len(keys), _ROWS_AT_ONCE):
        tx.connection.execute(
            delete(_facts).where(this),
            [
                {"a_subject": subject_id, "a_name": name, "a_source": source}
                for subject_id, name, source in keys[start : start + _ROWS_AT_ONCE]
            ],
        )
    tx.insert(_facts, rows)


def list_facts(connection: Connection, kind: SubjectKind, subject_id: str) -> list[Fact]:
    """All that is known of a subject, stale facts included."""
    return load_facts(connection, kind, [subject_id]).get(subject_id, [])


def load_facts(
    connection: Connection, kind: SubjectKind, subject_ids: Collection[str] | None = None
) -> dict[str, list[Fact]]:
    """The same for many, or for all, by id."""
    statement = select(_facts).where(_facts.c.subject_kind == kind.value)
    if subject_ids is not None and len(subject_ids) <= _NAMED_AT_MOST:
        statement = statement.where(_facts.c.subject_id.in_(subject_ids))
        subject_ids = None
    found: dict[str, list[Fact]] = defaultdict(list)
    wanted = None if subject_ids is None else set(subject_ids)
    for row in connection.execute(statement.order_by(_facts.c.subject_id, _facts.c.name, _facts.c.source)):
        if wanted is None or row.subject_id in wanted:
            found[row.subject_id].append(read_fact(row))
    return dict(found)


def read_fact(row: AnyRow) -> Fact:
    """The fact a row holds."""
    return Fact(row.name, row.value, row.source, row.observed_at, row.expires_at, row.detail)


def list_run_out(connection: Connection, after: datetime, until: datetime) -> dict[SubjectKind, list[str]]:
    """Of whom a fact ran out after a moment and at the latest at another, those first whose did first."""
    rows = connection.execute(
        select(_facts.c.subject_kind, _facts.c.subject_id)
        .where(_facts.c.expires_at > after, _facts.c.expires_at <= until)
        .group_by(_facts.c.subject_kind, _facts.c.subject_id)
        .order_by(func.min(_facts.c.expires_at), _facts.c.subject_id)
    )
    found: dict[SubjectKind, list[str]] = defaultdict(list)
    for row in rows:
        found[SubjectKind(row.subject_kind)].append(row.subject_id)
    return dict(found)


def find_next_end(connection: Connection, after: datetime) -> datetime | None:
    """When the next fact runs out."""
    statement = (
        select(_facts.c.expires_at).where(_facts.c.expires_at > after).order_by(_facts.c.expires_at.asc()).limit(1)
    )
    return connection.execute(statement).scalar_one_or_none()


def _build_row(kind: SubjectKind, subject_id: str, fact: Fact) -> dict[str, object]:
    return {
        "subject_kind": kind.value,
        "subject_id": subject_id,
        "name": fact.name,
        "source": fact.source,
        "value": fact.value,
        "observed_at": encode_time(fact.observed_at),
        "expires_at": None if fact.expires_at is None else encode_time(fact.expires_at),
        "detail": fact.detail,
    }
