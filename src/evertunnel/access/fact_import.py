"""Reading facts in bulk: JSON or CSV with the columns device (or user), fact, value, observed_at and life.

Each error names the line (CSV) or the place (JSON) and the column. The bytes may be UTF-8 or UTF-16, with a byte order
mark or without. Nothing here knows which devices there are.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from evertunnel.access.fact_names import get_fact_name, read_value
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind

_Found = TypeVar("_Found")

ROWS_AT_MOST = 100_000
BYTES_AT_MOST = 32 * 1024 * 1024
LONGEST_LIFE = timedelta(days=366)
COLUMNS = ("device", "user", "fact", "value", "observed_at", "life")
# Clocks differ by less.
_AHEAD_AT_MOST = timedelta(minutes=5)
_LONGEST_CELL = 10_000
_LIFE = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# What a spreadsheet takes for a formula when a cell begins with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class FactRow:
    """A row as read; `place` is where it stood, for errors. `observed_at` None is now, `life` None has no end."""

    place: str
    kind: SubjectKind
    subject: str
    name: str
    value: str
    observed_at: datetime | None
    life: timedelta | None


def read_fact_rows(data: bytes, *, now: datetime) -> list[FactRow]:
    """All rows, or InvalidInputError for the first that is wrong."""
    if len(data) > BYTES_AT_MOST:
        raise InvalidInputError(f"the file is larger than {BYTES_AT_MOST // 1024 // 1024} MiB: import it in parts")
    text = _decode(data)
    start = text.lstrip()[:1]
    if not start:
        raise InvalidInputError("the file is empty")
    rows: list[FactRow] = []
    for place, cells in _read_json(text) if start in ("[", "{") else _read_csv(text):
        if len(rows) == ROWS_AT_MOST:
            raise InvalidInputError(f"the file has more than {ROWS_AT_MOST} rows: import it in parts")
        rows.append(_read_row(place, cells, now))
    if not rows:
        raise InvalidInputError("the file has no rows")
    return rows


def defuse(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; reading it back gives the text again."""
    return "'" + text if text.lstrip(" ").startswith((*_FORMULA, "'")) else text


def write_life(life: timedelta | None) -> str:
    """A life as it is read back."""
    return "" if life is None else f"{max(1, round(life.total_seconds()))}s"


def _read_row(place: str, cells: Mapping[str, str], now: datetime) -> FactRow:
    named = [column for column in ("device", "user") if cells.get(column)]
    if len(named) != 1:
        raise InvalidInputError(f"{place}, column device: name a device, or a user in column user, and not both")
    kind = SubjectKind(named[0])
    known = _at(place, "fact", lambda: get_fact_name(kind, cells.get("fact", "")))
    return FactRow(
        place,
        kind,
        _at(place, named[0], lambda: _read_subject(cells[named[0]])),
        known.name,
        _at(place, "value", lambda: read_value(known, cells.get("value", ""))),
        _at(place, "observed_at", lambda: _read_time(cells.get("observed_at", ""), now)),
        _at(place, "life", lambda: _read_life(cells.get("life", ""))),
    )


def _read_subject(text: str) -> str:
    """No name has a control character or half of a surrogate pair, and databases choke on a search for one."""
    text = text.strip()
    if not text or not text.isprintable():
        raise InvalidInputError(f"{text[:80]!r} is no name: it is empty, or holds a character that cannot be printed")
    return text


def _at(place: str, column: str, read: Callable[[], _Found]) -> _Found:
    try:
        return read()
    except InvalidInputError as error:
        raise InvalidInputError(f"{place}, column {column}: {error}") from None


def _read_time(text: str, now: datetime) -> datetime | None:
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInputError(f"{text[:80]!r} is not a time such as 2026-05-04T12:00:00Z") from None
    if moment.tzinfo is None:
        raise InvalidInputError(f"{text[:80]!r} has no time zone: write 2026-05-04T12:00:00Z for UTC")
    if moment > now + _AHEAD_AT_MOST:
        raise InvalidInputError(f"{text[:80]!r} is in the future")
    try:
        return min(moment.astimezone(now.tzinfo), now)
    except OverflowError:
        raise InvalidInputError(f"{text[:80]!r} is too long ago") from None


def _read_life(text: str) -> timedelta | None:
    if not text.strip():
        return None
    found = _LIFE.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_LIFE.total_seconds():
        raise InvalidInputError(f"{text[:80]!r} is not a time such as 90s, 30m, 8h or 7d, at most 366 days")
    return timedelta(seconds=seconds)


def _decode(data: bytes) -> str:
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif data[1:2] == b"\0":  # the first character of either format is ASCII
        encoding = "utf-16-le"
    elif data[:1] == b"\0":
        encoding = "utf-16-be"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(f"line {line}: is not {encoding}; save the file as UTF-8") from None


def _read_json(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    try:
        found = json.loads(text, object_pairs_hook=_refuse_twice)
    except ValueError as error:
        raise InvalidInputError(f"the JSON cannot be read: {error}") from None
    except RecursionError:
        raise InvalidInputError("the JSON is nested too deeply") from None
    if isinstance(found, dict) and isinstance(found.get("value"), list):
        found = found["value"]
    if not isinstance(found, list):
        raise InvalidInputError("the JSON must be an array of rows")
    for index, row in enumerate(found):
        place = f"$[{index}]"
        if not isinstance(row, dict):
            raise InvalidInputError(f"{place}: must be an object")
        for column in row:
            _verify_column(place, column)
        yield place, {column: _read_cell(place, column, value) for column, value in row.items()}


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The second of two would count, and nobody would see it: the header of CSV names nothing twice either."""
    found = dict(pairs)
    if len(found) != len(pairs):
        times = Counter(key for key, _value in pairs)
        twice = next(key for key in times if times[key] > 1)
        raise InvalidInputError(f"the JSON cannot be read: an object has the key {twice[:80]!r} twice")
    return found


def _read_cell(place: str, column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if column == "life" and isinstance(value, int):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str) and ";" not in part for part in value):
        value = ";".join(value)
    if not isinstance(value, str):
        raise InvalidInputError(f"{place}, column {column}: must be a text in quotes")
    if len(value) > _LONGEST_CELL:
        raise InvalidInputError(f"{place}, column {column}: is longer than {_LONGEST_CELL} characters")
    return value


def _read_csv(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    lines = text.split("\n")
    delimiter = max(",;\t", key=lines[0].count)
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    before = 0
    try:
        for cells in reader:
            place, before = f"line {before + 1}", reader.line_num
            if not cells or cells == [""]:
                continue
            if header is None:
                header = [cell.strip().casefold() for cell in cells]
                _verify_header(place, header)
                continue
            if len(cells) != len(header):
                raise InvalidInputError(f"{place}: has {len(cells)} cells, the header has {len(header)}")
            yield place, {name: _undo_defuse(cell) for name, cell in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise InvalidInputError(f"line {reader.line_num}: {error}") from None


def _undo_defuse(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].lstrip(" ").startswith((*_FORMULA, "'")) else cell


def _verify_header(place: str, header: list[str]) -> None:
    for name in header:
        _verify_column(place, name)
        if header.count(name) > 1:
            raise InvalidInputError(f"{place}: the header names {name} twice")
    for name in ("fact", "value"):
        if name not in header:
            raise InvalidInputError(f"{place}: the header has no column {name}; the columns are {', '.join(COLUMNS)}")


def _verify_column(place: str, name: str) -> None:
    if name not in COLUMNS:
        raise InvalidInputError(f"{place}: {name[:80]!r} is no column; the columns are {', '.join(COLUMNS)}")
