"""evertunnel attempt."""

from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, print_table, say, short_time

app = typer.Typer(no_args_is_help=True, help="Attempts: every try to connect, with cause and fix.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_attempts(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="Of this user.")] = None,
    device: Annotated[str | None, typer.Option(help="Of this device.")] = None,
    outcome: Annotated[str | None, typer.Option(help="granted, refused or failed.")] = None,
    reason: Annotated[str | None, typer.Option(help="For example device_not_compliant.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: JSON = False,
) -> None:
    """List attempts, the newest first.

    Example: evertunnel attempt list --outcome refused
    """
    rows = API(context).get("attempts", user=user, device=device, outcome=outcome, reason=reason, limit=limit)
    if json:
        print_json(rows)
        return
    print_table(
        [
            row
            | {
                "at": short_time(row["at"]),
                "who": row["user"] or row["device"] or f"({row['claimed_identity']})",
            }
            for row in rows
        ],
        {
            "id": "ID",
            "at": "AT (UTC)",
            "kind": "WHAT",
            "who": "WHO",
            "outcome": "OUTCOME",
            "reason": "REASON",
            "detail": "DETAIL",
        },
        empty="No attempts.",
    )


@app.command()
def show(context: typer.Context, attempt: str, json: JSON = False) -> None:
    """Show one: its steps, what each policy said, cause and what to do.

    Example: evertunnel attempt show 0123456789abcdef
    """
    found: dict[str, Any] = API(context).get("attempts", attempt)
    if json:
        print_json(found)
        return
    say(f"{found['kind']}, {found['outcome']} at {short_time(found['at'])} UTC: {found['reason']}")
    for label, key in (
        ("User", "user"),
        ("Device", "device"),
        ("Gateway", "gateway"),
        ("Called itself", "claimed_identity"),
        ("From", "client_address"),
        ("Certificate", "certificate_id"),
        ("Session", "session_id"),
    ):
        if found[key]:
            say(f"  {label + ':':15}{found[key]}")
    if found["authentication_methods"]:
        methods, moment = ", ".join(found["authentication_methods"]), short_time(found["signed_in_at"])
        say(f"  {'Signed in:':15}{methods} at {moment} UTC")
    say(f"  {'NPS reason:':15}{found['nps_reason_code']}")
    typer.echo("Steps")
    for step in found["steps"]:
        say(f"  {step['at_ms']:9.1f} ms  {step['text']}")
    if found["policies"]:
        typer.echo("Policies")
        for result in found["policies"]:
            kind = "network" if result["kind"] == "network" else "conditional access"
            say(f"  {result['result']:22}{kind}: {result['policy']}: {result['detail']}")
    say(f"Cause: {found['cause']}")
    say(f"       {found['detail']}")
    say(f"What to do: {found['fix']}")
