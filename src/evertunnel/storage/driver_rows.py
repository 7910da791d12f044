"""Rows as the driver has them, where there may be tens of thousands: SQLAlchemy costs ten times as much a row.

Times are integers (tables.decode_time), booleans of SQLite 0 and 1, and JSON is text.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Select


def read_rows(connection: Connection, statement: Select[Any], **values: object) -> Sequence[tuple[Any, ...]]:
    """All rows of a statement that is made once, since its text is kept. `values` are those that differ each time."""
    text, fixed = _compile(statement, connection.dialect)
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(text, {**fixed, **values})
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
    finally:
        cursor.close()
    return rows


@lru_cache(maxsize=64)
def _compile(statement: Select[Any], dialect: Dialect) -> tuple[str, dict[str, object]]:
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return str(compiled), dict(compiled.params)
