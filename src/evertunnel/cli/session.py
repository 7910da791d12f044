"""evertunnel session."""

from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, print_table, short_time

app = typer.Typer(no_args_is_help=True, help="Sessions: tunnels that are up, or were.")


@app.command("list")
def list_sessions(
    context: typer.Context,
    past: Annotated[bool, typer.Option("--past", help="Also those that ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List sessions.

    Example: evertunnel session list --past --limit 20
    """
    rows = API(context).get("sessions", live=not past, limit=limit)
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"since": short_time(row["up_at"] or row["created_at"])} for row in rows],
        {
            "kind": "TUNNEL",
            "state": "STATE",
            "user": "USER",
            "device": "DEVICE",
            "gateway": "GATEWAY",
            "remote_address": "FROM",
            "virtual_addresses": "ADDRESS",
            "since": "SINCE (UTC)",
            "bytes_in": "IN",
            "bytes_out": "OUT",
            "end_reason": "END",
        },
        empty="No sessions.",
    )
