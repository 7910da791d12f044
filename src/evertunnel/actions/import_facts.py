"""Facts in bulk, from an export of a device management or a script: all rows or none."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from evertunnel.access.fact_import import COLUMNS, FactRow, read_fact_rows, write_life
from evertunnel.access.fact_names import NOT_COMPLIANT_SINCE
from evertunnel.access.fact_sources import IMPORTED, is_verdict_source
from evertunnel.actions.store_facts import store_facts
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import facts, people
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows there were, and of how many users and devices anything changed."""

    rows: int
    changed: int


def import_facts(store: Store, data: bytes, *, source: str, actor: str, now: datetime) -> Imported:
    """Read a file and keep what it says as the word of `source`, replacing what that said before of these names.

    A row older than what its source said before changes nothing. Raises InvalidInputError, NotFoundError with the line.
    """
    if source not in IMPORTED:
        raise InvalidInputError(f"{source[:80]!r} cannot be imported as a source; choose one of {', '.join(IMPORTED)}")
    rows = read_fact_rows(data, now=now)
    changed = 0
    with store.write(now) as tx:
        for kind in (SubjectKind.DEVICE, SubjectKind.USER):
            mine = [row for row in rows if row.kind is kind]
            if mine:
                people_by_name = _Names(kind, people.list_subjects(tx.connection, kind))
                said = _group(mine, people_by_name, source, tx.now)
                changed += len(store_facts(tx, kind, said, if_newer=True))
        details = {"source": source, "rows": len(rows), "changed": changed, **Counter(row.name for row in rows)}
        tx.record(AuditEntry(Audit.FACTS_IMPORT, actor, details=details))
    return Imported(len(rows), changed)


def list_fact_cells(store: Store, *, source: str | None = None) -> Iterator[dict[str, str]]:
    """Every fact that somebody, or one source, said: a row that can be imported again, with its source beside it."""
    with store.read() as connection:
        for kind in (SubjectKind.DEVICE, SubjectKind.USER):
            known = facts.load_facts(connection, kind)
            for row in people.list_subjects(connection, kind):
                for fact in known.get(row.id, ()):
                    ours = is_verdict_source(fact.source) or fact.name == NOT_COMPLIANT_SINCE
                    if not ours and source in (None, fact.source):
                        yield _build_cells(kind, row.name, fact)


class _Names:
    """Users or devices by id, else by name in any case."""

    def __init__(self, kind: SubjectKind, rows: list[AnyRow]) -> None:
        self._kind = kind
        self._ids = {row.name_key: row.id for row in rows} | {row.id: row.id for row in rows}

    def get(self, row: FactRow) -> str:
        """The id of whom a row is about. Raises NotFoundError."""
        found = self._ids.get(row.subject) or self._ids.get(row.subject.casefold())
        if found is None:
            kind, name = self._kind.value, row.subject[:80]
            raise NotFoundError(f"{row.place}, column {kind}: there is no {kind} {name!r}")
        return str(found)


def _group(rows: list[FactRow], names: _Names, source: str, now: datetime) -> dict[str, list[Fact]]:
    said: dict[str, list[Fact]] = {}
    places: dict[tuple[str, str], str] = {}
    for row in rows:
        subject_id = names.get(row)
        before = places.setdefault((subject_id, row.name), row.place)
        if before != row.place:
            raise InvalidInputError(f"{row.place}, column fact: says {row.name} of the same as {before}")
        seen = row.observed_at or now
        ends = None if row.life is None else seen + row.life
        said.setdefault(subject_id, []).append(Fact(row.name, row.value, source, seen, ends))
    return said


def _build_cells(kind: SubjectKind, name: str, fact: Fact) -> dict[str, str]:
    life = None if fact.expires_at is None else fact.expires_at - fact.observed_at
    cells = dict.fromkeys(COLUMNS, "") | {
        kind.value: name,
        "fact": fact.name,
        "value": fact.value,
        "observed_at": fact.observed_at.isoformat(),
        "life": write_life(life),
    }
    return cells | {"source": fact.source}
