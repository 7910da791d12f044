"""An installation from one database into another, whole or not at all."""

from collections.abc import Callable

from sqlalchemy import Connection, Table, func, insert, inspect, select, text

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.storage.schema import remove_schema, upgrade_schema, verify_empty
from evertunnel.storage.schema_version import verify_schema
from evertunnel.storage.store import UNAVAILABLE, Store, explain
from evertunnel.storage.tables import metadata
from evertunnel.storage.verify_chain import verify_chain

_ROWS_AT_ONCE = 1000

Progress = Callable[[str, int, int], None]


def copy_storage(source: Store, target: Store, *, on_progress: Progress) -> int:
    """Copy every row and return how many. Nothing may write to the source meanwhile.

    `on_progress` is told a table, how many of its rows were copied, and how many it has. The chain of hashes is
    verified in the source before, in the target before the commit. Raises InvalidInputError, UnavailableError; then
    the target is as empty as it was.
    """
    verify_schema(source)
    verify_empty(target)
    upgrade_schema(target)
    try:
        with source.read() as reading, target.engine.connect().execution_options(write=True) as writing:
            _lift_limits(reading)
            with writing.begin():
                _lift_limits(writing)
                head = _verify(reading, "the database to copy from")
                copied = sum(_copy_table(reading, writing, table, on_progress) for table in metadata.sorted_tables)
                if _verify(writing, "the copy") != head:
                    raise UnavailableError("the copy has another head than what was copied")
    except BaseException as error:
        remove_schema(target)
        if isinstance(error, UNAVAILABLE):
            raise UnavailableError(f"nothing was copied: {explain(error)}") from error
        raise
    return copied


def _copy_table(reading: Connection, writing: Connection, table: Table, on_progress: Progress) -> int:
    rows = reading.execute(select(func.count()).select_from(table)).scalar_one()
    writing.execute(table.delete())  # the ledger has a first row already
    copied = 0
    on_progress(table.name, copied, rows)
    found = reading.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table))
    for part in found.mappings().partitions():
        writing.execute(insert(table), [dict(row) for row in part])
        copied += len(part)
        on_progress(table.name, copied, rows)
    if copied != rows:
        raise UnavailableError(f"{table.name}: {copied} of {rows} rows were copied")
    return copied


def _verify(connection: Connection, name: str) -> bytes:
    report = verify_chain(connection)
    if report.problems:
        raise InvalidInputError(f"{name} does not verify: {report.problems[0]}")
    missing = {table.name for table in metadata.sorted_tables} - set(inspect(connection).get_table_names())
    if missing:
        raise InvalidInputError(f"{name} has no table {sorted(missing)[0]!r}")
    return report.head


def _lift_limits(connection: Connection) -> None:
    """Copying takes as long as it takes, and the side that waits for the other is idle."""
    if connection.dialect.name == "postgresql":
        for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {setting} = 0"))
