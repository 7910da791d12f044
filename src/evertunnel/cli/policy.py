"""evertunnel policy."""

from typing import Annotated, Any

import typer

from evertunnel.cli import policy_access, policy_history, policy_locations, policy_strengths, policy_tests
from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.mschapv2 import mschapv2
from evertunnel.cli.output import demand, print_json, print_table, say
from evertunnel.cli.replay import replay
from evertunnel.cli.what_if import what_if

app = typer.Typer(no_args_is_help=True, help="Network policies and conditional access policies.")
network_app = typer.Typer(no_args_is_help=True, help="Network policies: ordered, the first match decides.")
app.command("what-if")(what_if)
app.command("history")(policy_history.show_history)
app.command("diff")(policy_history.show_diff)
app.command("rollback")(policy_history.roll_back)
app.command("mschapv2")(mschapv2)
policy_access.app.command("replay")(replay)
app.add_typer(network_app, name="network")
app.add_typer(policy_access.app, name="access")
app.add_typer(policy_locations.app, name="location")
app.add_typer(policy_strengths.app, name="strength")
app.add_typer(policy_tests.app, name="test")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("set-up")
def set_up(context: typer.Context, *, cut: CUT = False) -> None:
    """Make the usual policies: deny group above grants, compliant device and short-lived certificate demanded.

    Example: evertunnel policy set-up
    """
    API(context).post("policies", "usual", confirmed=cut)
    typer.echo("Made the groups VPN Denied, VPN Users and VPN Devices, three network policies and a conditional")
    typer.echo("access policy. Next: evertunnel group join.")


@network_app.command("list")
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


@network_app.command("add")
def add_network(
    context: typer.Context,
    name: str,
    *,
    deny: Annotated[bool | None, typer.Option("--deny/--grant", help="What it does.")] = None,
    tunnel: Annotated[str | None, typer.Option(help="Condition: user or device.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="Condition: one of these users.")] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="Condition: in one of these groups; granting: the user of a user tunnel, the device of a device "
            "tunnel; denying: either."
        ),
    ] = None,
    user_group: Annotated[list[str] | None, typer.Option(help="Condition: the user is in one of these.")] = None,
    device_group: Annotated[list[str] | None, typer.Option(help="Condition: the device is in one of these.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Condition: one of these devices.")] = None,
    gateway: Annotated[list[str] | None, typer.Option(help="Condition: on one of these gateways.")] = None,
    device_tunnel: Annotated[
        bool, typer.Option("--device-tunnel", help="Condition: the device's own tunnel is up from the same address.")
    ] = False,
    certificate_oid: Annotated[
        list[str] | None, typer.Option(help="Demand a certificate with one of these usages.")
    ] = None,
    session_timeout: Annotated[int | None, typer.Option(help="End the tunnel after so many seconds.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow this method, the first named is offered first: eap-tls, peap-eap-tls, eap-mschapv2 or "
            "peap-eap-mschapv2; default: the first two. The others are weak and must be switched on."
        ),
    ] = None,
    without_crypto_binding: Annotated[
        bool, typer.Option("--without-crypto-binding", help="Take PEAP clients that cannot bind. Weak.")
    ] = False,
    position: Annotated[int | None, typer.Option(help="Place in the order, from 1; default: last.")] = None,
    cut: CUT = False,
) -> None:
    """Add a network policy.

    Example: evertunnel policy network add Contractors --deny --group Contractors --position 1
    """
    deny = demand(deny, "--deny", "--grant")
    conditions = {
        "tunnel": tunnel,
        "users": user,
        "groups": group,
        "user_groups": user_group,
        "device_groups": device_group,
        "devices": device,
        "gateways": gateway,
        "device_tunnel": device_tunnel or None,
    }
    settings = {
        "allowed_certificate_oids": certificate_oid,
        "session_timeout_seconds": session_timeout,
        "authentication_methods": method,
        "without_crypto_binding": without_crypto_binding or None,
    }
    document = {
        "permission": "deny" if deny else "grant",
        "conditions": _list_given(conditions),
        "settings": _list_given(settings),
    }
    body = {"name": name, "document": document, "position": position}
    API(context).post("policies", "network", body=body, confirmed=cut)
    say(f"Added network policy {name}.")


@network_app.command("switch")
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


@network_app.command("remove")
def remove_network(context: typer.Context, name: str, *, cut: CUT = False) -> None:
    """Remove a network policy.

    Example: evertunnel policy network remove Contractors
    """
    API(context).delete("policies", "network", name, confirmed=cut)
    say(f"Removed {name}.")


def _list_given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given. An empty text or a zero was given too, and the server says what is wrong with it."""
    return {key: value for key, value in options.items() if value is not None and value != []}


def _describe(values: dict[str, Any], names: dict[str, str]) -> str:
    parts = []
    for key, value in values.items():
        items = value if isinstance(value, list) else [value]
        parts.append(f"{key}: {' or '.join(names.get(str(item), str(item)) for item in items)}")
    return "; ".join(parts)
