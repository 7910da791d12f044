"""What commands print: tables for people, JSON for programs. Text of others cannot drive the terminal."""

import json
import math
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import typer

# Characters that reorder what is read, or that a terminal obeys: control, format, surrogates, private use, unassigned.
_DANGEROUS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(text: object) -> str:
    """Text that shows as it is: every character a terminal or the eye could be fooled by becomes �."""
    return "".join("�" if unicodedata.category(character) in _DANGEROUS else character for character in str(text))


def say(text: str, *, error: bool = False) -> None:
    """One line; names in it may come from anywhere."""
    typer.echo(clean(text), err=error)


def print_json(value: Any) -> None:
    """JSON; non-ASCII is escaped, so that nothing in it reaches a terminal raw."""
    typer.echo(json.dumps(value, indent=2))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> None:
    """Rows under headings; `columns` maps keys to headings. Without rows, `empty` says what to do next."""
    if not rows:
        typer.echo(empty)
        return
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    headings = list(columns.values())
    widths = [max(len(heading), *(len(row[index]) for row in cells)) for index, heading in enumerate(headings)]
    for line in (headings, *cells):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def say_if_cut(rows: Sequence[Any], limit: int) -> None:
    """After a list that may go on: what is not shown is not nothing."""
    if len(rows) == limit:
        say(f"The newest {limit}; a higher --limit may show more.", error=True)


def read_number(value: float, option: str, *, times: int) -> int:
    """A number of seconds from a number of hours or days; ends the command when it is none."""
    if not math.isfinite(value) or value <= 0:
        fail(f"{option}: {value} is not a number above zero", code=2)
    return round(value * times)


def demand(value: bool | None, yes: str, no: str) -> bool:
    """One of two options must be given; ends the command when neither was. Typer would name the first only."""
    if value is None:
        fail(f"give {yes} or {no}", code=2)
    return value


def fail(message: str, *, code: int = 1) -> NoReturn:
    """One line to standard error, and the end."""
    typer.echo(f"evertunnel: {clean(message)}", err=True)
    sys.exit(code)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return clean(", ".join(map(str, value))) or "-"
    return clean(value)


def short_time(text: str | None) -> str:
    """A time of the API without its fraction and zone: all are UTC."""
    return text[:19].replace("T", " ") if text else "-"
