"""evertunnel policy access replay."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel import clock
from evertunnel.cli.client import API
from evertunnel.cli.json_files import MAP, read_json_files, read_map
from evertunnel.cli.moments import read_moment
from evertunnel.cli.output import fail, print_json, print_table, say, short_time

_SHOWN = 50

JSON = Annotated[bool, typer.Option("--json", help="Print JSON, with every attempt that differs.")]


def replay(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Graph JSON of the draft, or folders of it.")
    ] = None,
    *,
    map_file: MAP = None,
    on: Annotated[list[str] | None, typer.Option(help="A policy to be on in the draft.")] = None,
    off: Annotated[list[str] | None, typer.Option(help="A policy to be off.")] = None,
    alone: Annotated[bool, typer.Option("--alone", help="The files instead of all policies, not beside them.")] = False,
    since: Annotated[
        str | None, typer.Option(help="From this time (UTC) on, such as 2026-05-01T08:00, or 7d for 7d ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time (UTC), or so long ago.")] = None,
    json: JSON = False,
) -> None:
    """Try a draft of the conditional access policies on recorded attempts, with the facts as they were then.

    Policies of the files replace those of the same name; what they name is found as by an import. Nothing is changed.

    Example: evertunnel policy access replay --on "Block by country" --since 7d
    """
    if not paths and not on and not off:
        fail("name a draft: a file, --on POLICY or --off POLICY")
    if alone and not paths:
        fail("--alone needs a file")
    now = clock.now()
    body: dict[str, Any] = {
        "map": read_map(map_file),
        "files": read_json_files(paths or []),
        "states": dict.fromkeys(on or [], "on") | dict.fromkeys(off or [], "off"),
        "alone": alone,
        "since": read_moment(since, "--since", now=now),
        "until": read_moment(until, "--until", now=now),
    }
    api = API(context)
    looked_at = skipped = 0
    differences: list[dict[str, Any]] = []
    while True:
        page = api.post("policies", "access", "replay", body=body)
        looked_at += page["looked_at"]
        skipped += page["skipped"]
        differences += page["differences"]
        if page["after"] is None:
            break
        body["after"] = page["after"]
        if sys.stderr.isatty():
            typer.echo(f"\r{looked_at:,} attempts, {len(differences):,} differ", err=True, nl=False)
    if json:
        print_json({"looked_at": looked_at, "skipped": skipped, "differences": differences})
        return
    _show(looked_at, skipped, differences)


def _show(looked_at: int, skipped: int, differences: list[dict[str, Any]]) -> None:
    refused = [row for row in differences if row["was"] == "granted"]
    say(
        f"{looked_at:,} attempts: {len(refused):,} would newly be refused, "
        f"{len(differences) - len(refused):,} newly granted"
        + (f"; {skipped:,} ended before any policy was asked or kept no facts." if skipped else ".")
    )
    if refused:
        people = Counter(row["user"] or row["device"] for row in refused)
        say("Newly refused: " + ", ".join(f"{name} ({times})" for name, times in people.most_common(10)))
    print_table(
        [row | {"at": short_time(row["at"])} for row in differences[:_SHOWN]],
        {
            "attempt": "ATTEMPT",
            "at": "AT (UTC)",
            "what": "WHAT",
            "user": "USER",
            "device": "DEVICE",
            "was": "WAS",
            "would_be": "WOULD BE",
            "detail": "DETAIL",
        },
        empty="Nothing would end otherwise.",
    )
    if len(differences) > _SHOWN:
        say(f"{len(differences) - _SHOWN:,} more: --json shows all.")
