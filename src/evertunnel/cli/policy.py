"""evertunnel policy."""

import typer

from evertunnel.cli import (
    policy_access,
    policy_history,
    policy_locations,
    policy_network,
    policy_strengths,
    policy_tests,
)
from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.mschapv2 import mschapv2
from evertunnel.cli.replay import replay
from evertunnel.cli.what_if import what_if

app = typer.Typer(no_args_is_help=True, help="Network policies and conditional access policies.")
app.command("what-if")(what_if)
app.command("history")(policy_history.show_history)
app.command("diff")(policy_history.show_diff)
app.command("rollback")(policy_history.roll_back)
app.command("mschapv2")(mschapv2)
policy_access.app.command("replay")(replay)
app.add_typer(policy_network.app, name="network")
app.add_typer(policy_access.app, name="access")
app.add_typer(policy_locations.app, name="location")
app.add_typer(policy_strengths.app, name="strength")
app.add_typer(policy_tests.app, name="test")


@app.command("set-up")
def set_up(context: typer.Context, *, cut: CUT = False) -> None:
    """Make the usual policies: deny group above grants, compliant device and short-lived certificate demanded.

    Example: evertunnel policy set-up
    """
    API(context).post("policies", "usual", confirmed=cut)
    typer.echo("Made the groups VPN Denied, VPN Users and VPN Devices, three network policies and a conditional")
    typer.echo("access policy. Next: evertunnel group join.")
