"""evertunnel policy network."""

from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.json_files import read_json
from evertunnel.cli.output import demand, fail, print_json, print_table, say
from evertunnel.cli.policy_network_options import (
    PLACES,
    Deny,
    DeviceGroups,
    Devices,
    DeviceTunnel,
    Gateways,
    Groups,
    Methods,
    Timeout,
    Tunnel,
    Unbound,
    Usages,
    UserGroups,
    Users,
    sort_given,
)

app = typer.Typer(no_args_is_help=True, help="Network policies: ordered, the first match decides.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_network(context: typer.Context, json: JSON = False) -> None:
    """List network policies in order.

    Example: evertunnel policy network list
    """
    rows = API(context).get("policies", "network")
    if json:
        print_json(rows)
        return
    print_table(
        [
            {
                "position": row["position"],
                "name": row["name"],
                "permission": row["document"]["permission"],
                "enabled": row["document"].get("enabled", True),
                "conditions": _describe(row["document"].get("conditions", {}), row["names"]),
                "settings": _describe(row["document"].get("settings", {}), {}),
                "weak": row["weakness"],
            }
            for row in rows
        ],
        {
            "position": "#",
            "name": "POLICY",
            "permission": "PERMISSION",
            "enabled": "ENABLED",
            "conditions": "CONDITIONS",
            "settings": "SETTINGS",
            "weak": "WEAK",
        },
        empty="No network policies, so nobody may connect. The usual ones: evertunnel policy set-up",
    )


@app.command("add")
def add_network(
    context: typer.Context,
    name: str,
    *,
    deny: Deny = None,
    tunnel: Tunnel = None,
    user: Users = None,
    group: Groups = None,
    user_group: UserGroups = None,
    device_group: DeviceGroups = None,
    device: Devices = None,
    gateway: Gateways = None,
    device_tunnel: DeviceTunnel = False,
    certificate_oid: Usages = None,
    session_timeout: Timeout = None,
    method: Methods = None,
    without_crypto_binding: Unbound = False,
    position: Annotated[int | None, typer.Option(help="Place in the order, from 1; default: last.")] = None,
    cut: CUT = False,
) -> None:
    """Add a network policy.

    Example: evertunnel policy network add Contractors --deny --group Contractors --position 1
    """
    given = sort_given(locals())
    deny = demand(deny, "--deny", "--grant")
    document = {"permission": "deny" if deny else "grant", **given}
    body = {"name": name, "document": document, "position": position}
    API(context).post("policies", "network", body=body, confirmed=cut)
    say(f"Added network policy {name}.")


@app.command("show")
def show_network(context: typer.Context, name: str, json: JSON = False) -> None:
    """Show a network policy; with --json as `change --file` takes it.

    Example: evertunnel policy network show Contractors --json
    """
    row = API(context).get("policies", "network", name)
    if json:
        print_json(row)
        return
    document = row["document"]
    say(f"{row['name']} ({row['id']}), place {row['position']}, version {row['version']}")
    say(f"  {document['permission']}, {'on' if document.get('enabled', True) else 'off'}")
    for section in ("conditions", "settings"):
        for key, value in document.get(section, {}).items():
            say(f"  {key}: {_join(value, {})}")
    if row["weakness"]:
        say(f"  {row['weakness']}")


@app.command("change")
def change_network(
    context: typer.Context,
    name: str,
    *,
    deny: Deny = None,
    tunnel: Tunnel = None,
    user: Users = None,
    group: Groups = None,
    user_group: UserGroups = None,
    device_group: DeviceGroups = None,
    device: Devices = None,
    gateway: Gateways = None,
    device_tunnel: DeviceTunnel = False,
    certificate_oid: Usages = None,
    session_timeout: Timeout = None,
    method: Methods = None,
    without_crypto_binding: Unbound = False,
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Take a condition or setting away, by the name of its option, such as user-group."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Take the document of this file, as `show --json` prints it, instead.")
    ] = None,
    position: Annotated[int | None, typer.Option(help="Move it to this place in the order, from 1.")] = None,
    cut: CUT = False,
) -> None:
    """Change a network policy, all of it at once: it keeps its id, its history and its place.

    An option takes the place of what the policy has of it, all values together; what is not given stays. A file that
    was made from an older version than the policy is of by now is refused; its place comes from --position alone.

    Example: evertunnel policy network change Contractors --group Contractors --group Guests --clear gateway
    """
    changes: dict[str, Any] = sort_given(locals())
    if deny is not None:
        changes["permission"] = "deny" if deny else "grant"
    for word in clear or ():
        if word not in PLACES:
            fail(f"--clear {word}: it is none of {', '.join(PLACES)}", code=2)
        section, key = PLACES[word]
        if key in changes[section]:
            fail(f"give --{word} or --clear {word}, not both", code=2)
        changes[section][key] = None
    changes = {key: value for key, value in changes.items() if value}
    if file is not None and changes:
        fail("give --file or options that change something, not both", code=2)
    if file is None and not changes and position is None:
        fail("give what to change, --file, or --position", code=2)
    body = {"name": name, "position": position} | ({"changes": changes} if file is None else _read_document(file, name))
    row = API(context).post("policies", "network", "change", body=body, confirmed=cut)
    say(f"Network policy {row['name']} stands at place {row['position']}, version {row['version']}.")


@app.command("switch")
def switch_network(
    context: typer.Context,
    name: str,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Whether it counts.")] = None,
    *,
    cut: CUT = False,
) -> None:
    """Switch a network policy on or off.

    Example: evertunnel policy network switch Contractors --off
    """
    on = demand(on, "--on", "--off")
    API(context).patch("policies", "network", name, body={"enabled": on}, confirmed=cut)
    say(f"Switched {name} {'on' if on else 'off'}.")


@app.command("remove")
def remove_network(context: typer.Context, name: str, *, cut: CUT = False) -> None:
    """Remove a network policy.

    Example: evertunnel policy network remove Contractors
    """
    API(context).delete("policies", "network", name, confirmed=cut)
    say(f"Removed {name}.")


@app.command("export")
def export_network(context: typer.Context) -> None:
    """Print all network policies in order, as they can be imported here or elsewhere: by names, not ids.

    Example: evertunnel policy network export
    """
    print_json(API(context).get("policies", "exports", "network"))


@app.command("import")
def import_network(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What export printed.")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make them the whole list: what is not in the file is removed.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Import nothing; say what would change and how many sessions would end.")
    ] = False,
    cut: CUT = False,
    json: JSON = False,
) -> None:
    """Import network policies behind those that are there, all or nothing; with --replace in place of all of them.

    Example: evertunnel policy network import network.json --replace --check
    """
    body = {"data": read_json(path), "replace": replace, "check": check}
    done = API(context).post("policies", "network", "import", body=body, confirmed=cut)
    if json:
        print_json(done)
        return
    for word in ("added", "changed", "moved", "removed"):
        if done[word]:
            said = f"would be {word}" if check else word
            say(f"{said.capitalize()} {len(done[word])}: {', '.join(done[word])}.")
    if not any(done[word] for word in ("added", "changed", "moved", "removed")):
        say("They are so already.")
    if check:
        say(f"Nothing was imported. It would end {done['ended']} of {done['live']} live sessions.")


def _read_document(path: Path, name: str) -> dict[str, Any]:
    """What a file of one policy says; ends the command where it is of another."""
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("document"), dict):
        fail(f"{path}: $.document: must be an object, as evertunnel policy network show --json prints it")
    whose = [found[key] for key in ("name", "id") if key in found]
    if whose and name.casefold() not in [str(each).casefold() for each in whose]:
        fail(f"{path} is of the network policy {str(whose[0])[:100]!r}, not of {name!r}")
    return {"document": found["document"], "version": found.get("version")}


def _describe(values: dict[str, Any], names: dict[str, str]) -> str:
    return "; ".join(f"{key}: {_join(value, names)}" for key, value in values.items())


def _join(value: Any, names: dict[str, str]) -> str:
    items = value if isinstance(value, list) else [value]
    return " or ".join(names.get(str(item), str(item)) for item in items)
