"""evertunnel policy what-if."""

from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.json_files import read_json
from evertunnel.cli.output import fail, print_json, print_table, say

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def what_if(
    context: typer.Context,
    *,
    user: Annotated[str | None, typer.Option(help="Who signs in.")] = None,
    device: Annotated[str | None, typer.Option(help="On which device.")] = None,
    gateway: Annotated[str | None, typer.Option(help="At which gateway.")] = None,
    what: Annotated[
        str, typer.Option("--for", help="user-tunnel, device-tunnel, or certificate: a short-lived one.")
    ] = "user-tunnel",
    certificate: Annotated[
        str | None, typer.Option(help="user, device or short-lived: what the tunnel is asked for with.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Suppose it comes from this address.")] = None,
    country: Annotated[str | None, typer.Option(help="Suppose it comes from this country, two letters.")] = None,
    platform: Annotated[str | None, typer.Option(help="Suppose windows, macOS, linux, iOS or android.")] = None,
    compliant: Annotated[bool | None, typer.Option("--compliant/--not-compliant", help="Suppose it.")] = None,
    domain_joined: Annotated[bool | None, typer.Option("--domain-joined/--not-domain-joined", help="The same.")] = None,
    device_tunnel: Annotated[
        bool | None,
        typer.Option(
            "--device-tunnel/--no-device-tunnel", help="Suppose the device's own tunnel up beside it, or not."
        ),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Suppose this was passed: password, softwareOath, fido2 and so on.")
    ] = None,
    sign_in_risk: Annotated[str | None, typer.Option(help="Suppose none, low, medium or high.")] = None,
    user_risk: Annotated[str | None, typer.Option(help="Suppose none, low, medium or high.")] = None,
    graph: Annotated[
        Path | None, typer.Option(help="Answer a request of Graph's conditionalAccess/evaluate, as Graph does.")
    ] = None,
    json: JSON = False,
) -> None:
    """Ask what would come of it now, with what is known or with what you suppose. Nothing is changed or recorded.

    Every policy is shown with its result and the condition that decided, whatever refuses first.

    Example: evertunnel policy what-if --user alice@corp.example --device laptop1.corp.example --not-compliant
    """
    if graph is not None:
        print_json(API(context).post("policies", "access", "evaluate", body=read_json(graph)))
        return
    tunnels = {"user-tunnel": "user", "device-tunnel": "device", "certificate": None}
    if what not in tunnels:
        fail(f"--for is user-tunnel, device-tunnel or certificate, not {what}")
    body = {
        "user": user,
        "device": device,
        "gateway": gateway,
        "certificate": certificate,
        "address": address,
        "country": None if country is None else country.upper(),
        "platform": platform,
        "compliant": compliant,
        "domain_joined": domain_joined,
        "own_tunnel": device_tunnel,
        "methods": method or None,
        "sign_in_risk": sign_in_risk,
        "user_risk": user_risk,
    }
    body = {key: value for key, value in body.items() if value is not None} | {"tunnel": tunnels[what]}
    found: dict[str, Any] = API(context).post("policies", "what-if", body=body)
    if json:
        print_json(found)
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    access = found["access"]
    say(f"{found['outcome']}: {found['reason']}: {found['detail']}")
    for obstacle in found["obstacles"]:
        if obstacle["reason"] != found["reason"]:
            say(f"besides: {obstacle['reason']}: {obstacle['detail']}")
    if access["error_code"]:
        say(f"Entra would show {access['error_code']}; missing: {', '.join(access['missing']) or 'nothing, it blocks'}")
    if access["lifetime_seconds"] is not None:
        say(f"to be signed in again after {access['lifetime_seconds']} s")
    rows = [row | {"kind": "network", "condition": ""} for row in found["network"]]
    rows += [row | {"kind": "conditional access"} for row in access["policies"]]
    print_table(
        rows,
        {"policy": "POLICY", "kind": "KIND", "result": "RESULT", "condition": "DECIDED BY", "detail": "DETAIL"},
        empty="No policies.",
    )
    if found["outcome"] != "granted":
        say(f"Cause: {found['cause']}")
        say(f"What to do: {found['fix']}")
