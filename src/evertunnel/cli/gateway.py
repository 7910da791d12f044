"""evertunnel gateway."""

from typing import Annotated, Any

import typer

from evertunnel.cli import gateway_agent, gateway_radsec, gateway_secret
from evertunnel.cli.client import API, get_folder
from evertunnel.cli.output import fail, print_json, print_table, read_number, say, short_time
from evertunnel.cli.user import read_password

app = typer.Typer(no_args_is_help=True, help="Gateways: the VPN servers that terminate tunnels.")
app.add_typer(gateway_agent.app, name="agent")
app.add_typer(gateway_secret.app, name="secret")
app.add_typer(gateway_radsec.app, name="radsec")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_gateways(context: typer.Context, json: JSON = False) -> None:
    """List gateways.

    Example: evertunnel gateway list
    """
    rows = API(context).get("gateways")
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"answers": _describe_state(row), "secret": _describe_secret(row)} for row in rows],
        {
            "name": "GATEWAY",
            "public_name": "PUBLIC NAME",
            "enabled": "ENABLED",
            "sessions": "SESSIONS",
            "pending_effects": "NOT CONFIRMED",
            "answers": "STRONGSWAN",
            "secret": "SECRET",
        },
        empty="No gateways yet. Add this machine's strongSwan: evertunnel gateway add --help",
    )


def _describe_secret(row: dict[str, Any]) -> str:
    if not row["radius_address"]:
        return "RadSec"
    if row["secret"]["rotated_at"]:
        return "being rotated"
    return "WEAK" if row["secret"]["weakness"] else "strong"


def _describe_state(row: dict[str, Any]) -> str:
    if row["foreign"] and row["state"] == "unknown":
        return "not ours"
    since = f" since {short_time(row['state_since'])}" if row["state_since"] else ""
    return f"{row['state']}{since}" + (f": {row['state_error']}" if row["state_error"] else "")


@app.command()
def add(
    context: typer.Context,
    name: str,
    *,
    public_name: Annotated[str, typer.Option(help="DNS name that clients connect to.")] = "",
    device_pool: Annotated[str, typer.Option(help="Addresses for device tunnels.")] = "",
    user_pool: Annotated[str, typer.Option(help="Addresses for user tunnels.")] = "",
    device_network: Annotated[
        list[str] | None, typer.Option(help="What device tunnels reach; repeat for more.")
    ] = None,
    user_network: Annotated[list[str] | None, typer.Option(help="What user tunnels reach; repeat for more.")] = None,
    dns: Annotated[list[str] | None, typer.Option(help="DNS servers for clients; repeat for more.")] = None,
    radius_address: Annotated[str, typer.Option(help="Where its RADIUS requests come from.")] = "127.0.0.1",
    vici_socket: Annotated[str, typer.Option(help="strongSwan's control socket.")] = "/run/charon.vici",
    local_address: Annotated[list[str] | None, typer.Option(help="Addresses to listen on; default: all.")] = None,
    encap: Annotated[bool, typer.Option(help="UDP encapsulation always; kernels without ESP need it.")] = False,
    device_hours: Annotated[float, typer.Option(help="Hours after which strongSwan ends a device tunnel.")] = 8.0,
    server_address: Annotated[
        str, typer.Option(help="It is on another host: the name or address under which it reaches this server.")
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            help="It is no strongSwan of ours and only asks over RADIUS: the address or network it asks from; "
            "or: radsec."
        ),
    ] = "",
    disconnect: Annotated[
        str, typer.Option(help="Where it takes Disconnect-Requests, address or address:port; default port 3799.")
    ] = "",
    ask_secret: Annotated[
        bool, typer.Option("--ask-secret", help="With --address: ask for its secret; without, one is made.")
    ] = False,
    ask_disconnect_secret: Annotated[
        bool,
        typer.Option("--ask-disconnect-secret", help="Ask for the secret of its Disconnect-Requests, if another."),
    ] = False,
) -> None:
    """Add a gateway on this machine, with --server-address one on another host, with --address one of another make.

    For one on another host --radius-address is that host's, and an enrolment code for its agent is printed. For one of
    another make its RADIUS secret is printed, once. With `--address radsec` it asks over TLS alone.

    \b
    Example: evertunnel gateway add gw1 --public-name vpn.example.com --device-pool 10.30.0.0/20 \\
      --user-pool 10.31.0.0/20 --device-network 10.20.0.10/32 --user-network 10.20.0.0/16
    """
    disconnect_secret = read_password(prompt="Disconnect secret") if ask_disconnect_secret else None
    if address:
        secret = read_password(prompt="Secret") if ask_secret else None
        body: dict[str, Any] = {
            "name": name,
            "address": address,
            "public_name": public_name,
            "disconnect": disconnect,
            "secret": secret,
            "disconnect_secret": disconnect_secret,
        }
        made = API(context).post("gateways", "foreign", body=body)
        say(f"Added gateway {name}, which only asks over RADIUS.")
        if made["secret"]:
            gateway_secret.print_secret(made, given=ask_secret)
        else:
            say(f"Give it a certificate: evertunnel gateway radsec issue {name} --out {name}")
        return
    demanded = {
        "--public-name": public_name,
        "--device-pool": device_pool,
        "--user-pool": user_pool,
        "--device-network": device_network,
        "--user-network": user_network,
    }
    if missing := [option for option, value in demanded.items() if not value]:
        fail(f"give {missing[0]}, or --address for a gateway that is no strongSwan of ours", code=2)
    body = {
        "name": name,
        "public_name": public_name,
        "radius_address": radius_address,
        "vici_socket": vici_socket,
        "device_pool": device_pool,
        "user_pool": user_pool,
        "device_networks": device_network,
        "user_networks": user_network,
        "dns": dns or [],
        "local_addresses": local_address or [],
        "encap": encap,
        "device_lifetime_seconds": read_number(device_hours, "--device-hours", times=3600),
        "server_address": server_address,
    }
    API(context).post("gateways", body=body)
    if disconnect or disconnect_secret:
        changes = {"disconnect": disconnect or None, "disconnect_secret": disconnect_secret}
        API(context).patch("gateways", name, body=changes)
    if server_address:
        say(f"Added gateway {name}.")
        _print_code(context, name)
        return
    fragment = get_folder(context).gateway_folder(name) / "strongswan.conf"
    say(f"Added gateway {name}. Its part of strongswan.conf is {fragment}:")
    typer.echo("include it from /etc/strongswan.conf and restart strongSwan once.")


@app.command()
def code(context: typer.Context, name: str) -> None:
    """Make a code that enrols the agent of a gateway on another host; one made before counts no longer.

    When it is used, certificates of an agent before are revoked, and that agent is dismissed.

    Example: evertunnel gateway code gw2
    """
    _print_code(context, name)


def _print_code(context: typer.Context, name: str) -> None:
    found = API(context).post("gateways", name, "code")
    say("On the gateway's host run `evertunnel gateway agent enrol` and give it this code, once, within 24 hours:")
    typer.echo(found["code"])


@app.command()
def change(
    context: typer.Context,
    name: str,
    *,
    public_name: Annotated[
        str | None, typer.Option(help="DNS name that clients connect to; a new certificate.")
    ] = None,
    device_pool: Annotated[str | None, typer.Option(help="Addresses for device tunnels.")] = None,
    user_pool: Annotated[str | None, typer.Option(help="Addresses for user tunnels.")] = None,
    device_network: Annotated[list[str] | None, typer.Option(help="All that device tunnels reach.")] = None,
    user_network: Annotated[list[str] | None, typer.Option(help="All that user tunnels reach.")] = None,
    dns: Annotated[list[str] | None, typer.Option(help="All DNS servers for clients, or: none.")] = None,
    radius_address: Annotated[str | None, typer.Option(help="Where its RADIUS requests come from.")] = None,
    vici_socket: Annotated[str | None, typer.Option(help="strongSwan's control socket.")] = None,
    local_address: Annotated[list[str] | None, typer.Option(help="All addresses to listen on, or: all.")] = None,
    encap: Annotated[bool | None, typer.Option("--encap/--no-encap", help="UDP encapsulation always.")] = None,
    device_hours: Annotated[
        float | None, typer.Option(help="Hours after which strongSwan ends a device tunnel.")
    ] = None,
    server_address: Annotated[
        str | None,
        typer.Option(help="Where a gateway on another host reaches this server; its agent is enrolled anew."),
    ] = None,
    disconnect: Annotated[
        str | None, typer.Option(help="Where it takes Disconnect-Requests, address or address:port; or: none.")
    ] = None,
    ask_disconnect_secret: Annotated[
        bool, typer.Option("--ask-disconnect-secret", help="Ask for the secret of its Disconnect-Requests.")
    ] = False,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether it takes tunnels; disabled, those it has end.")
    ] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="New RADIUS secret and new gate path.")] = False,
) -> None:
    """Change a gateway. What is not given stays; a list that is given replaces the one before.

    \b
    Example: evertunnel gateway change gw1 --enable --rotate \\
      --user-network 10.20.0.0/16 --user-network 10.40.0.0/16
    """
    body = {
        "public_name": public_name,
        "radius_address": radius_address,
        "vici_socket": vici_socket,
        "enabled": enable,
        "device_pool": device_pool,
        "user_pool": user_pool,
        "device_networks": device_network or None,
        "user_networks": user_network or None,
        "dns": [] if dns == ["none"] else dns or None,
        "local_addresses": [] if local_address == ["all"] else local_address or None,
        "encap": encap,
        "device_lifetime_seconds": None
        if device_hours is None
        else read_number(device_hours, "--device-hours", times=3600),
        "server_address": server_address,
        "disconnect": "" if disconnect == "none" else disconnect,
        "disconnect_secret": read_password(prompt="Disconnect secret") if ask_disconnect_secret else None,
        "rotate": rotate,
    }
    API(context).patch("gateways", name, body=body)
    say(f"Changed gateway {name}.")
    if rotate:
        typer.echo("Its strongSwan is told to read the new RADIUS secret; restart it if user tunnels are refused.")
    for row in API(context).get("profiles"):
        if row["gateway"] == name.lower() and row["problems"]:
            say(f"Profile {row['name']} no longer fits: {'; '.join(row['problems'])}.")


@app.command()
def remove(context: typer.Context, name: str) -> None:
    """Remove a gateway; its sessions end, and denials wait for it no longer.

    One that is not ours is told nothing: disable it first, which cuts its sessions, and remove it when they are over.

    Example: evertunnel gateway remove gw1
    """
    api = API(context)
    foreign = any(row["foreign"] and row["name"] == name.lower() for row in api.get("gateways"))
    api.delete("gateways", name)
    say(f"Removed gateway {name}.")
    if foreign:
        typer.echo("Tunnels that are up there stay up, and no denial cuts them from here any more: end them there.")
    else:
        typer.echo("Take its part out of /etc/strongswan.conf and restart strongSwan there.")
