"""evertunnel policy mschapv2."""

from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.output import print_json, say


def mschapv2(
    context: typer.Context,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Switch it; without either, show.")] = None,
    *,
    accept_weakness: Annotated[
        bool, typer.Option("--accept-weakness", help="Switch it on, having read what is weak.")
    ] = False,
    cut: CUT = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show or switch logins with MS-CHAPv2 passwords, which are weak and off. Off erases all NT hashes.

    Example: evertunnel policy mschapv2 --off
    """
    api = API(context)
    if on is not None:
        body = {"on": on, "weakness_accepted": accept_weakness}
        erased = api.patch("mschapv2", body=body, confirmed=cut)["erased"]
        if on:
            say("MS-CHAPv2 is on: network policies may name it, and passwords set from now on can be used for it.")
        else:
            say(f"MS-CHAPv2 is off. Erased {erased} NT hashes.")
        return
    found = api.get("mschapv2")
    if json:
        print_json(found)
    elif found["on"]:
        since, by = found["since"], found["by"]
        say(f"MS-CHAPv2 is on since {since}, by {by}; {found['nt_hashes']} users have an NT hash. It is weak.")
    else:
        say("MS-CHAPv2 is off.")
