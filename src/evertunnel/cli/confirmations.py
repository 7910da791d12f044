"""How commands that cut tunnels tell how far gateways have confirmed it."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from evertunnel.cli.output import say

Rows = Sequence[dict[str, Any]]
WAIT = Annotated[float, typer.Option(help="Seconds to wait for gateways to confirm.")]
_LOOK_EVERY_SECONDS = 0.02


def list_unconfirmed(rows: Rows) -> list[dict[str, Any]]:
    """Those that are still tried."""
    return [row for row in rows if row["state"] == "pending"]


def watch(rows: Rows, look: Callable[[], Rows], *, seconds: float) -> Rows:
    """Look again until all is confirmed or the time is over; returns what was seen last."""
    deadline = time.monotonic() + seconds
    while list_unconfirmed(rows) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_SECONDS)
        rows = look()
    return rows


def describe(row: dict[str, Any]) -> str:
    """One, in words."""
    if row["state"] == "confirmed":
        return f"confirmed after {row['milliseconds']:.0f} ms, no tunnel left"
    if row["state"] == "dropped":
        return f"not asked any more: {row['last_error']}"
    if row["acknowledged_milliseconds"] is not None:
        why = row["last_error"] or "nobody has seen it so far"
        return f"acknowledged after {row['acknowledged_milliseconds']:.0f} ms, NOT CONFIRMED yet: {why}"
    tries = f"after {row['tries']} tries" if row["tries"] else "yet, the first try is going on"
    return f"NOT CONFIRMED {tries}: {row['last_error'] or 'it has not answered yet'}"


def say_that_it_goes_on() -> None:
    """After what is not confirmed."""
    say("It is tried until it is confirmed; `evertunnel gateway list` counts what is not.")
