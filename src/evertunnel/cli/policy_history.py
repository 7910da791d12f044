"""evertunnel policy history, diff and rollback."""

from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.output import print_json, print_table, say, short_time

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Kind = Annotated[
    str | None,
    typer.Option(help="access, network, location, strength, compliance or test, where several have the name."),
]


def show_history(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A policy, there or removed; default: all.")] = None,
    *,
    kind: Kind = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: JSON = False,
) -> None:
    """Show who changed policies, when and what, the newest first: of all kinds, and what they name, and their tests.

    Example: evertunnel policy history "Block contractors"
    """
    rows = API(context).get("policies", "history", name=name, kind=kind, limit=limit)
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"at": short_time(row["at"])} for row in rows],
        {"at": "AT (UTC)", "actor": "WHO", "kind": "KIND", "name": "NAME", "version": "VERSION", "change": "WHAT"},
        empty="No policy was ever changed.",
    )


def show_diff(
    context: typer.Context,
    name: str,
    *,
    before: Annotated[
        int | None, typer.Option("--from", help="A version, or 0 for nothing; default: the one before.")
    ] = None,
    after: Annotated[int | None, typer.Option("--to", help="A version; default: the newest.")] = None,
    kind: Kind = None,
    json: JSON = False,
) -> None:
    """Show what differs between two versions of a policy, as a unified diff of the documents.

    Example: evertunnel policy diff "Block contractors" --from 2 --to 4
    """
    query = {"name": name, "kind": kind, "from": before, "to": after}
    found = API(context).get("policies", "diff", **query)
    if json:
        print_json(found)
        return
    for line in found["lines"]:
        say(line)
    if not found["lines"]:
        say("Nothing differs.")


def roll_back(
    context: typer.Context,
    name: str,
    *,
    to: Annotated[int, typer.Option(help="The version, as `policy history` shows it.")],
    kind: Kind = None,
    cut: CUT = False,
    json: JSON = False,
) -> None:
    """Put the document of a version in place again; what was removed comes back. It is checked as every change is.

    Example: evertunnel policy rollback "Block contractors" --to 2
    """
    body = {"name": name, "to": to, "kind": kind}
    done = API(context).post("policies", "rollback", body=body, confirmed=cut)
    if json:
        print_json(done)
        return
    say(f"{done['name']} is {'there again, ' if done['added'] else ''}as version {done['to']} left it.")
