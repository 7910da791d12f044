"""evertunnel audit."""

from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, print_table, say, short_time

app = typer.Typer(no_args_is_help=True, help="The audit: who changed what, in a chain that shows tampering.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: JSON = False,
) -> None:
    """List audit entries, the newest first.

    Example: evertunnel audit list --limit 20
    """
    rows = API(context).get("audit", limit=limit)
    if json:
        print_json(rows)
        return
    print_table(
        [
            row
            | {
                "at": short_time(row["at"]),
                "details": ", ".join(f"{key}={value}" for key, value in row["details"].items()),
            }
            for row in rows
        ],
        {"at": "AT (UTC)", "actor": "WHO", "name": "WHAT", "subject": "SUBJECT", "details": "DETAILS"},
        empty="No audit entries.",
    )


@app.command()
def verify(
    context: typer.Context,
    expect: Annotated[
        str | None, typer.Option(help="A hash noted earlier that must be the head now or before.")
    ] = None,
    json: JSON = False,
) -> None:
    """Compute the hash chain anew. Exit 1 when anything was changed.

    A batch is what one transaction recorded, the head the hash of the last: note it somewhere else.

    Example: evertunnel audit verify
    """
    result = API(context).get("audit", "verification", expect=expect)
    if json:
        print_json(result)
    elif result["problems"]:
        for problem in result["problems"]:
            say(problem)
    else:
        say(f"{result['batches']} batches, all as they were committed. Head: {result['head']}")
    if result["problems"]:
        raise typer.Exit(1)
