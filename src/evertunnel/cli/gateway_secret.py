"""evertunnel gateway secret."""

from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, print_table, say, short_time
from evertunnel.cli.user import read_password

app = typer.Typer(no_args_is_help=True, help="The RADIUS secrets that gateways share with us.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_secrets(context: typer.Context, json: JSON = False) -> None:
    """List whose secret is weak or being rotated, and which of two is in use; the secrets are not shown.

    Example: evertunnel gateway secret list
    """
    rows = [
        {"gateway": row["name"], "address": row["radius_address"], **row["secret"]}
        for row in API(context).get("gateways")
        if row["radius_address"]
    ]
    if json:
        print_json(rows)
        return
    print_table(
        [
            row
            | {
                "rotated_at": short_time(row["rotated_at"]),
                "in_use": _describe_use(row),
                "weakness": f"WEAK: {row['weakness']}" if row["weakness"] else "strong",
            }
            for row in rows
        ],
        {
            "gateway": "GATEWAY",
            "address": "ASKS FROM",
            "weakness": "SECRET",
            "rotated_at": "ROTATED (UTC)",
            "in_use": "IN USE",
        },
        empty="No gateway has a RADIUS secret.",
    )


def _describe_use(row: dict[str, Any]) -> str:
    if not row["rotated_at"]:
        return ""
    used, before = row["used_at"], row["previous_used_at"]
    if not used and not before:
        return "neither so far"
    if not used:
        return f"the old one, last at {short_time(before)}"
    if before and before >= used:
        return f"the old one still, last at {short_time(before)}; the new one at {short_time(used)}"
    return f"the new one, last at {short_time(used)}" + (f"; the old one at {short_time(before)}" if before else "")


@app.command()
def rotate(
    context: typer.Context,
    name: str,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask for the new secret, or read it from standard input; else one is made.")
    ] = False,
) -> None:
    """Give a gateway another secret; the one before counts too until `secret finish`.

    A gateway with our strongSwan is told by us. To any other one, give what is printed here, once.

    Example: evertunnel gateway secret rotate gw1
    """
    api = API(context)
    new = api.post("gateways", name, "secret", body={"secret": read_password(prompt="Secret") if ask else None})
    foreign = any(row["foreign"] and row["name"] == name.lower() for row in api.get("gateways"))
    say(f"The secret of {name} is a new one. Both count until `evertunnel gateway secret finish {name}`.")
    if foreign:
        print_secret(new, given=ask)


@app.command()
def finish(
    context: typer.Context,
    name: str,
    force: Annotated[bool, typer.Option("--force", help="Even if the gateway does not use the new one yet.")] = False,
) -> None:
    """Let the secret before count no longer.

    Example: evertunnel gateway secret finish gw1
    """
    API(context).delete("gateways", name, "secret", "previous", **({"force": True} if force else {}))
    say(f"The old secret of {name} counts no longer.")


def print_secret(new: dict[str, Any], *, given: bool) -> None:
    """A secret that was made, this once; and what is wrong with one that was given."""
    if new["weakness"]:
        say(f"WEAK: {new['weakness']}. Whoever hears a packet can try; let one be made instead.", error=True)
    if not given:
        say("Its RADIUS secret, shown this once:")
        typer.echo(new["secret"])
