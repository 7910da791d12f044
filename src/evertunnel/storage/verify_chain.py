"""Compute the hash chain anew from what is stored, and say what does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select

from evertunnel.storage import chain, tables
from evertunnel.storage.store import GENESIS_HASH
from evertunnel.storage.tables import AnyRow, encode_time

_PROBLEMS_AT_MOST = 20
_BATCHES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a verification found. `head` is the hash of the last batch: keep it elsewhere to notice a cut-off end."""

    batches: int
    head: bytes
    problems: list[str]


def verify_chain(connection: Connection, *, expected_head: str | None = None) -> ChainReport:
    """Walk every batch from the first. `expected_head` (hex) must be the hash of one of them."""
    walk = _Walk(expected_head)
    try:
        while len(walk.problems) < _PROBLEMS_AT_MOST:
            rows = connection.execute(
                select(tables.batches)
                .where(tables.batches.c.number > walk.number)
                .order_by(tables.batches.c.number)
                .limit(_BATCHES_AT_ONCE)
            ).all()
            if not rows:
                break
            audit = _load(connection, tables.audit, rows[0].number, rows[-1].number)
            attempts = _load(connection, tables.attempts, rows[0].number, rows[-1].number)
            for row in rows:
                walk.step(row, audit.get(row.number, ()), attempts.get(row.number, ()))
    except (TypeError, ValueError, OverflowError) as error:
        # SQLite keeps whatever it is given: a text where a time was, a number no date has.
        walk.problems.append(f"a record after batch {walk.number} cannot be read: {error}")
    if expected_head is not None and not walk.met:
        walk.problems.append(f"no batch has the hash {expected_head}: the chain was cut off or begun anew")
    walk.problems += _find_strays(connection, walk.number)
    head = connection.execute(select(tables.ledger.c.batch_number, tables.ledger.c.batch_hash)).one_or_none()
    if head is None:
        walk.problems.append("the ledger is gone, which says where the chain ends")
    elif (walk.number, walk.previous) != (head.batch_number, head.batch_hash):
        walk.problems.append(f"the ledger ends at batch {head.batch_number}, the batches end at {walk.number}")
    return ChainReport(walk.number, walk.previous, walk.problems[:_PROBLEMS_AT_MOST])


class _Walk:
    """Where a verification is, and what it found so far."""

    def __init__(self, expected_head: str | None) -> None:
        self.number = 0
        self.previous = GENESIS_HASH
        self.met = False
        self.problems: list[str] = []
        try:
            self._expected_head = bytes.fromhex(expected_head or "")
        except ValueError:
            self._expected_head = b""  # no hash at all, so none is met

    def step(self, row: AnyRow, audit: Sequence[dict[str, Any]], attempts: Sequence[dict[str, Any]]) -> None:
        """Hold one batch against its records and the batch before."""
        if row.number != self.number + 1:
            self.problems.append(f"batch {self.number + 1} is missing")
        name = f"batch {row.number} of {row.committed_at:%F %T} UTC"
        if chain.hash_content(audit, attempts) != row.content_hash:
            self.problems.append(f"{name}: its records were changed")
        if (
            chain.hash_batch(row.number, self.previous, encode_time(row.committed_at), row.epoch, row.content_hash)
            != row.hash
        ):
            self.problems.append(f"{name} does not follow the one before")
        self.number, self.previous = row.number, row.hash
        self.met = self.met or row.hash == self._expected_head


def _load(connection: Connection, table: Table, first: int, last: int) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in connection.execute(select(table).where(table.c.batch.between(first, last))):
        found.setdefault(row.batch, []).append(dict(row._mapping))
    return found


def _find_strays(connection: Connection, last: int) -> list[str]:
    """Records that claim a batch that was never committed."""
    return [
        f"{table.name} has records of batch {row.batch}, which does not exist"
        for table in (tables.audit, tables.attempts)
        for row in connection.execute(
            select(table.c.batch).where((table.c.batch > last) | (table.c.batch < 1)).distinct().limit(3)
        )
    ]
