"""evertunnel device."""

from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import demand, print_json, print_table, read_number, say

app = typer.Typer(no_args_is_help=True, help="Devices: the computers that connect.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_devices(context: typer.Context, json: JSON = False) -> None:
    """List devices, their users and what is known of them.

    Example: evertunnel device list
    """
    devices = API(context).get("devices")
    if json:
        print_json(devices)
        return
    rows = [
        row | {"facts": [f"{fact['name']}={fact['value'] if fact['counts'] else 'too old'}" for fact in row["facts"]]}
        for row in devices
    ]
    print_table(
        rows,
        {
            "name": "DEVICE",
            "enabled": "ENABLED",
            "users": "ASSIGNED TO",
            "facts": "FACTS",
            "denied": "DENIED",
        },
        empty="No devices yet. Add one: evertunnel device add laptop1.corp.example",
    )


@app.command()
def add(context: typer.Context, name: str) -> None:
    """Add a device.

    Example: evertunnel device add laptop1.corp.example
    """
    API(context).post("devices", body={"name": name})
    say(f"Added device {name}.")


@app.command()
def change(
    context: typer.Context,
    name: str,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether the device may connect.")] = None,
) -> None:
    """Enable or disable a device.

    Example: evertunnel device change laptop1.corp.example --disable
    """
    API(context).patch("devices", name, body={"enabled": demand(enable, "--enable", "--disable")})
    say(f"Changed device {name}.")


@app.command()
def assign(context: typer.Context, name: str, user: str) -> None:
    """Let a user get short-lived certificates on a device.

    Example: evertunnel device assign laptop1.corp.example alice@corp.example
    """
    API(context).put("devices", name, "users", user)
    say(f"{name} is assigned to {user}.")


@app.command()
def unassign(context: typer.Context, name: str, user: str) -> None:
    """Take that back; live user tunnels of its short-lived certificates end.

    Example: evertunnel device unassign laptop1.corp.example alice@corp.example
    """
    API(context).delete("devices", name, "users", user)
    say(f"{name} is no longer assigned to {user}.")


@app.command()
def report(
    context: typer.Context,
    name: str,
    compliant: Annotated[bool | None, typer.Option("--compliant/--not-compliant", help="What to report.")] = None,
    life_hours: Annotated[float | None, typer.Option(help="Unknown again after so many hours; default: never.")] = None,
) -> None:
    """Report whether a device is compliant; losing it ends live user tunnels.

    Example: evertunnel device report laptop1.corp.example --not-compliant
    """
    compliant = demand(compliant, "--compliant", "--not-compliant")
    life = None if life_hours is None else read_number(life_hours, "--life-hours", times=3600)
    API(context).post("devices", name, "reports", body={"compliant": compliant, "life_seconds": life})
    say(f"{name} is {'compliant' if compliant else 'not compliant'}.")


@app.command()
def rename(context: typer.Context, old: str, new: str) -> None:
    """Rename a device; policies and denials follow, and its certificates go on working.

    Example: evertunnel device rename laptop1.corp.example laptop7.corp.example
    """
    API(context).post("devices", old, "renames", body={"name": new})
    say(f"{old} is called {new}.")


@app.command()
def remove(context: typer.Context, name: str) -> None:
    """Remove a device and revoke its certificates; one with live sessions must be denied first.

    Example: evertunnel device remove laptop1.corp.example
    """
    API(context).delete("devices", name)
    say(f"Removed device {name}.")
