"""evertunnel deny, evertunnel allow."""

import time
from datetime import datetime
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, print_table, say, short_time

deny_app = typer.Typer(no_args_is_help=True, help="Deny a user or device now, and see every gateway confirm it.")
allow_app = typer.Typer(no_args_is_help=True, help="Take a denial back.")

Reason = Annotated[str, typer.Option(help="Why; it goes into the record.")]
Until = Annotated[datetime | None, typer.Option(help="End of the denial, UTC.")]
Revoke = Annotated[bool, typer.Option("--revoke", help="Revoke certificates for good instead of holding them.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for gateways to confirm.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@deny_app.command("user")
def deny_user(
    context: typer.Context,
    name: str,
    reason: Reason,
    until: Until = None,
    revoke: Revoke = False,
    wait: Wait = 10.0,
    json: JSON = False,
) -> None:
    """Deny a user.

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
    wait: Wait = 10.0,
    json: JSON = False,
) -> None:
    """Deny a device.

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
    deadline = time.monotonic() + wait
    while (open_gateways := _unconfirmed(denial)) and time.monotonic() < deadline:
        time.sleep(0.02)
        denial = api.get("denials", denial["id"])
    if json:
        print_json(denial)
    else:
        for row in denial["gateways"]:
            if row["state"] == "confirmed":
                say(f"  {row['gateway']}: confirmed after {row['milliseconds']:.0f} ms, no tunnel left")
            elif row["state"] == "dropped":
                say(f"  {row['gateway'] or 'a gateway'}: not asked any more: {row['last_error']}")
            elif row["acknowledged_milliseconds"] is not None:
                say(
                    f"  {row['gateway']}: acknowledged after {row['acknowledged_milliseconds']:.0f} ms, "
                    f"NOT CONFIRMED yet: {row['last_error'] or 'nobody has seen it so far'}"
                )
            else:
                tries = f"after {row['tries']} tries" if row["tries"] else "yet, the first try is going on"
                why = row["last_error"] or "it has not answered yet"
                say(f"  {row['gateway']}: NOT CONFIRMED {tries}: {why}")
    if open_gateways:
        if not json:
            say("It is tried until it is confirmed; `evertunnel gateway list` counts what is not.")
        raise typer.Exit(1)


def _unconfirmed(denial: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in denial["gateways"] if row["state"] == "pending"]
