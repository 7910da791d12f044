"""evertunnel group."""

from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.output import fail, print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="Groups of users, devices and groups; policies name them.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UserOption = Annotated[str | None, typer.Option("--user", help="A user.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="A device.")]
GroupOption = Annotated[str | None, typer.Option("--group", help="A group.")]


@app.command("list")
def list_groups(context: typer.Context, json: JSON = False) -> None:
    """List groups and members.

    Example: evertunnel group list
    """
    groups = API(context).get("groups")
    if json:
        print_json(groups)
        return
    rows = [
        {"name": row["name"], "members": [f"{member['kind']} {member['name']}" for member in row["members"]]}
        for row in groups
    ]
    print_table(
        rows,
        {"name": "GROUP", "members": "MEMBERS"},
        empty="No groups yet. evertunnel policy set-up makes some.",
    )


@app.command()
def add(context: typer.Context, name: str) -> None:
    """Add a group.

    Example: evertunnel group add "VPN Users"
    """
    API(context).post("groups", body={"name": name})
    say(f"Added group {name}.")


@app.command()
def join(
    context: typer.Context,
    group: str,
    user: UserOption = None,
    device: DeviceOption = None,
    member_group: GroupOption = None,
    *,
    cut: CUT = False,
) -> None:
    """Put a member into a group.

    Example: evertunnel group join "VPN Users" --user alice@corp.example
    """
    kind, member = _pick(user, device, member_group)
    API(context).put("groups", group, "members", kind, member, confirmed=cut)
    say(f"{member} is in {group}.")


@app.command()
def leave(
    context: typer.Context,
    group: str,
    user: UserOption = None,
    device: DeviceOption = None,
    member_group: GroupOption = None,
    *,
    cut: CUT = False,
) -> None:
    """Take a member out of a group.

    Example: evertunnel group leave "VPN Users" --user alice@corp.example
    """
    kind, member = _pick(user, device, member_group)
    API(context).delete("groups", group, "members", kind, member, confirmed=cut)
    say(f"{member} is no longer in {group}.")


@app.command()
def rename(context: typer.Context, old: str, new: str) -> None:
    """Rename a group; policies and members follow.

    Example: evertunnel group rename "VPN Users" "VPN users of Example"
    """
    API(context).post("groups", old, "renames", body={"name": new})
    say(f"{old} is called {new}.")


@app.command()
def remove(context: typer.Context, name: str, *, cut: CUT = False) -> None:
    """Remove a group that no policy names; its members stay.

    Example: evertunnel group remove "Former contractors"
    """
    API(context).delete("groups", name, confirmed=cut)
    say(f"Removed group {name}.")


def _pick(user: str | None, device: str | None, group: str | None) -> tuple[str, str]:
    given = [(kind, name) for kind, name in (("user", user), ("device", device), ("group", group)) if name]
    if len(given) != 1:
        fail("give exactly one of --user, --device and --group", code=2)
    return given[0]
