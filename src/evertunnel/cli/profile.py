"""evertunnel profile: stored profiles. What works on files stands in profile_files."""

from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, print_table, say, short_time

app = typer.Typer(
    no_args_is_help=True,
    help="One profile, every client: create, write, lint, read, compare.\n\nExample: evertunnel profile list",
)
JSON = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command("list")
def list_profiles(context: typer.Context, json: JSON = False) -> None:
    """List stored profiles, and what keeps each from meeting its gateway.

    Example: evertunnel profile list
    """
    rows = API(context).get("profiles")
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"saved_at": short_time(row["saved_at"]), "state": _describe_state(row)} for row in rows],
        {"name": "PROFILE", "tunnel": "TUNNEL", "version": "VERSION", "gateway": "GATEWAY", "saved_at": "SAVED (UTC)",
         "state": "STATE"},
        empty="No profiles. Create one: evertunnel profile create NAME --tunnel user --gateway GATEWAY",
    )  # fmt: skip


def _describe_state(row: dict[str, Any]) -> str:
    problems = row["problems"]
    if not problems:
        return "fits"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


@app.command()
def create(
    context: typer.Context,
    name: str,
    tunnel: Annotated[str, typer.Option(help="user or device.")],
    gateway: Annotated[str, typer.Option(help="The gateway whose names, roots, networks and proposals fill it.")],
    dns_suffix: Annotated[
        list[str] | None, typer.Option(help="A suffix inside; also the trusted network. May be repeated.")
    ] = None,
    long_lived: Annotated[
        bool, typer.Option("--long-lived", help="Take user certificates instead of short-lived ones.")
    ] = False,
    suite: Annotated[str, typer.Option(help="recommended, hicks or rras.")] = "recommended",
) -> None:
    """Make a profile from a gateway's own configuration, so that both ends agree.

    Example: evertunnel profile create "Corp VPN" --tunnel user --gateway gw1 --dns-suffix corp.example
    """
    body = {
        "name": name,
        "tunnel": tunnel,
        "gateway": gateway,
        "suffixes": dns_suffix or [],
        "long_lived": long_lived,
        "suite": suite,
    }
    API(context).post("profiles", body=body)
    say(f"Created profile {name}. Next: evertunnel profile export {name!r} --format powershell --out install.ps1")


@app.command()
def show(
    context: typer.Context,
    name: str,
    version: Annotated[int | None, typer.Option(help="An older version.")] = None,
    json: JSON = False,
) -> None:
    """Show a stored profile: what it says, without what it leaves to the client.

    Example: evertunnel profile show "Corp VPN"
    """
    document = API(context).get("profiles", name, version=version)
    if json:
        print_json(document)
        return
    for field, value in document["profile"].items():
        if value not in (None, "", [], False) or field in ("routing", "register_dns"):
            say(f"{field + ':':28} {_describe(value)}")


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_describe(inner)}" for key, inner in value.items() if inner not in (None, "", []))
    if isinstance(value, list):
        return "; ".join(map(_describe, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


@app.command()
def versions(context: typer.Context, name: str, json: JSON = False) -> None:
    """List the versions of a profile, newest first.

    Example: evertunnel profile versions "Corp VPN"
    """
    rows = API(context).get("profiles", name, "versions")
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"saved_at": short_time(row["saved_at"])} for row in rows],
        {"version": "VERSION", "saved_at": "SAVED (UTC)", "saved_by": "BY"},
        empty="No versions.",
    )


@app.command()
def remove(context: typer.Context, name: str) -> None:
    """Remove a profile with its versions; clients keep what they have.

    Example: evertunnel profile remove "Corp VPN"
    """
    API(context).delete("profiles", name)
    say(f"Removed {name}.")
