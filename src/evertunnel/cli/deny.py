"""evertunnel deny, evertunnel allow."""

from datetime import datetime
from typing import Annotated

import typer

from evertunnel.cli import confirmations
from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, print_table, say, short_time

deny_app = typer.Typer(no_args_is_help=True, help="Deny a user or device now, and see every gateway confirm it.")
allow_app = typer.Typer(no_args_is_help=True, help="Take a denial back.")

Reason = Annotated[str, typer.Option(help="Why; it goes into the record.")]
Until = Annotated[
    datetime | None, typer.Option(help="End of the denial, UTC, such as 2026-05-04T18:00:00; default: none.")
]
Revoke = Annotated[bool, typer.Option("--revoke", help="Revoke certificates for good instead of holding them.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@deny_app.command("user")
def deny_user(
    context: typer.Context,
    name: str,
    reason: Reason,
    until: Until = None,
    revoke: Revoke = False,
    wait: confirmations.WAIT = 10.0,
    json: JSON = False,
) -> None:
    """Deny a user: live tunnels end at once and none comes up until `allow user`; certificates are on hold.

    Exit 1: a gateway has not confirmed yet. It is tried until all have.

    Example: evertunnel deny user alice@corp.example --reason "left the company"
    """
    _deny(context, "user", name, reason, until, revoke=revoke, wait=wait, json=json)


@deny_app.command("device")
def deny_device(
    context: typer.Context,
    name: str,
    reason: Reason,
    until: Until = None,
    revoke: Revoke = False,
    wait: confirmations.WAIT = 10.0,
    json: JSON = False,
) -> None:
    """Deny a device: live tunnels end at once and none comes up until `allow device`; certificates are on hold.

    Exit 1: a gateway has not confirmed yet. It is tried until all have.

    Example: evertunnel deny device laptop1.corp.example --reason stolen
    """
    _deny(context, "device", name, reason, until, revoke=revoke, wait=wait, json=json)


@deny_app.command("list")
def list_denials(context: typer.Context, json: JSON = False) -> None:
    """List denials that hold.

    Example: evertunnel deny list
    """
    rows = API(context).get("denials")
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"denied_at": short_time(row["denied_at"]), "until": short_time(row["until"])} for row in rows],
        {
            "kind": "KIND",
            "name": "NAME",
            "reason": "REASON",
            "denied_by": "BY",
            "denied_at": "AT (UTC)",
            "until": "UNTIL",
        },
        empty="Nobody is denied.",
    )


@allow_app.command("user")
def allow_user(context: typer.Context, name: str) -> None:
    """Allow a user again.

    Example: evertunnel allow user alice@corp.example
    """
    API(context).delete("denials", "user", name)
    say(f"{name} is allowed again.")


@allow_app.command("device")
def allow_device(context: typer.Context, name: str) -> None:
    """Allow a device again.

    Example: evertunnel allow device laptop1.corp.example
    """
    API(context).delete("denials", "device", name)
    say(f"{name} is allowed again.")


def _deny(
    context: typer.Context,
    kind: str,
    name: str,
    reason: str,
    until: datetime | None,
    *,
    revoke: bool,
    wait: float,
    json: bool,
) -> None:
    """Deny, then watch until every gateway confirmed or the time is over; exit 1 while one has not."""
    api = API(context)
    body = {
        "kind": kind,
        "name": name,
        "reason": reason,
        "until": until.isoformat() + "Z" if until else None,
        "revoke": revoke,
    }
    denial = api.post("denials", body=body)
    if not json:
        say(f"{name} is denied: no new tunnel from now on.")

    def look() -> confirmations.Rows:
        nonlocal denial
        denial = api.get("denials", denial["id"])
        rows: confirmations.Rows = denial["gateways"]
        return rows

    rows = confirmations.watch(denial["gateways"], look, seconds=wait)
    if json:
        print_json(denial)
    else:
        for row in rows:
            say(f"  {row['gateway'] or 'a gateway'}: {confirmations.describe(row)}")
    if confirmations.list_unconfirmed(rows):
        if not json:
            confirmations.say_that_it_goes_on()
        raise typer.Exit(1)
