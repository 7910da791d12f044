"""Compute the hash chain anew from what is stored, and say what does not fit."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select

from evertunnel.storage import chain, tables
from evertunnel.storage.store import GENESIS_HASH
from evertunnel.storage.tables import encode_time

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
    met = expected_head is None
    problems: list[str] = []
    previous, number = GENESIS_HASH, 0
    head = connection.execute(select(tables.ledger)).one()
    while len(problems) < _PROBLEMS_AT_MOST:
        rows = connection.execute(
            select(tables.batches)
            .where(tables.batches.c.number > number)
            .order_by(tables.batches.c.number)
            .limit(_BATCHES_AT_ONCE)
        ).all()
        if not rows:
            break
        audit = _load(connection, tables.audit, rows[0].number, rows[-1].number)
        attempts = _load(connection, tables.attempts, rows[0].number, rows[-1].number)
        for row in rows:
            number += 1
            if row.number != number:
                problems.append(f"batch {number} is missing")
                number = row.number
            content_hash = chain.hash_content(audit.get(number, ()), attempts.get(number, ()))
            if content_hash != row.content_hash:
                problems.append(f"batch {number} of {row.committed_at:%F %T} UTC: its records were changed")
            wanted = chain.hash_batch(number, previous, encode_time(row.committed_at), row.epoch, row.content_hash)
            if wanted != row.hash:
                problems.append(f"batch {number} of {row.committed_at:%F %T} UTC does not follow the one before")
            previous = row.hash
            met = met or row.hash.hex() == expected_head
    if not met:
        problems.append(f"no batch has the hash {expected_head}: the chain was cut off or begun anew")
    problems += _find_strays(connection, head.batch_number)
    if (number, previous) != (head.batch_number, head.batch_hash):
        problems.append(f"the ledger ends at batch {head.batch_number}, the batches end at {number}")
    return ChainReport(number, previous, problems[:_PROBLEMS_AT_MOST])


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
