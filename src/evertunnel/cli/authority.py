"""evertunnel certificate authority."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel import clock
from evertunnel.cli.client import API, get_folder
from evertunnel.cli.output import fail, print_json, print_table, say, short_time
from evertunnel.errors import DomainError

app = typer.Typer(no_args_is_help=True, help="The authorities, and the root's key on another machine or none.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WARN_BEFORE = timedelta(days=30)


class MayBeAway(StrEnum):
    """Authorities whose keys may be offline: the others sign every day."""

    ROOT = "root"


@app.command("list")
def list_authorities(context: typer.Context, json: JSON = False) -> None:
    """List the authorities: where their keys are, and until when their revocation lists are good.

    Example: evertunnel certificate authority list
    """
    print_authorities(API(context).get("authorities"), json=json)


@app.command()
def show(context: typer.Context, name: str, json: JSON = False) -> None:
    """Show one, with its PEM.

    Example: evertunnel certificate authority show root
    """
    rows: list[dict[str, Any]] = API(context).get("authorities")
    found = next((row for row in rows if row["name"] == name), None)
    if found is None:
        fail(f"there is no authority {name!r}: known are {', '.join(row['name'] for row in rows)}")
    if json:
        print_json(found)
        return
    say(f"{found['name']} authority, {found['subject']}")
    say(f"  {'Ends (UTC):':13}{short_time(found['not_after'])}")
    say(f"  {'Key:':13}{found['key']}")
    say(f"  {'List (UTC):':13}good until {short_time(found['list_until'])}")
    for line in found["pem"].splitlines():
        say(line)
    _warn([found])


@app.command()
def offline(
    context: typer.Context,
    authority: Annotated[MayBeAway, typer.Argument(help="root.")],
    *,
    out: Annotated[Path, typer.Option(help="The file to write, on what is taken away from this machine.")],
    list_days: Annotated[
        int, typer.Option(min=31, max=3650, help="The revocation list is good for so long without the key.")
    ] = 365,
) -> None:
    """Take the root's key off this machine, into a file under a passphrase; asks for it.

    Everything else goes on without it. Before its revocation list ends it must be online once.

    Example: evertunnel certificate authority offline root --out /media/stick/root.pem
    """
    from evertunnel.cli.user import read_password
    from evertunnel.installation import Installation
    from evertunnel.root_key import take_offline

    try:
        installation = Installation(get_folder(context))
        passphrase = read_password(prompt="Passphrase")
        until = take_offline(installation, out, passphrase, list_days=list_days, actor=_find_actor())
    except DomainError as error:
        fail(str(error))
    say(f"The {authority.value} key is in {out} and no longer here. Keep the file and a copy of it; without it this")
    say("root signs nothing any more.")
    say(f"Its revocation list is good until {until:%F %T} UTC: bring the key online once before.")


@app.command()
def online(
    context: typer.Context,
    authority: Annotated[MayBeAway, typer.Argument(help="root.")],
    *,
    source: Annotated[Path, typer.Option("--in", help="The file that `offline` wrote.")],
) -> None:
    """Bring the root's key back, if it is the same; asks for its passphrase.

    Example: evertunnel certificate authority online root --in /media/stick/root.pem
    """
    from evertunnel.cli.user import read_password
    from evertunnel.installation import Installation
    from evertunnel.root_key import bring_online

    try:
        installation = Installation(get_folder(context))
        bring_online(installation, source, read_password(confirm=False, prompt="Passphrase"), actor=_find_actor())
    except DomainError as error:
        fail(str(error))
    say(f"The {authority.value} key is here again.")


def print_authorities(rows: list[dict[str, Any]], *, json: bool) -> None:
    """The table, and a warning for each list that ends while nobody can make it anew."""
    if json:
        print_json(rows)
        return
    print_table(
        [
            row | {"not_after": short_time(row["not_after"]), "list_until": short_time(row["list_until"])}
            for row in rows
        ],
        {
            "name": "AUTHORITY",
            "key": "KEY",
            "list_until": "LIST UNTIL (UTC)",
            "subject": "SUBJECT",
            "not_after": "ENDS (UTC)",
        },
        empty="No authorities.",
    )
    _warn(rows)


def _warn(rows: list[dict[str, Any]]) -> None:
    soon = clock.now() + _WARN_BEFORE
    for row in rows:
        until = row["list_until"]
        if row["key"] == "offline" and until and datetime.fromisoformat(until).replace(tzinfo=UTC) < soon:
            say(f"The {row['name']} authority's revocation list ends {short_time(until)} UTC: bring its key online.")


def _find_actor() -> str:
    import os

    from evertunnel.privileges import find_user_name

    return find_user_name(os.getuid())
