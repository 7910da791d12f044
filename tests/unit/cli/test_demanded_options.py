"""Where one of two options must be given, the message names both."""

import pytest
from typer.testing import CliRunner

from evertunnel.cli.app import app

COMMANDS = {
    "device report laptop1": "--compliant or --not-compliant",
    "device change laptop1": "--enable or --disable",
    "policy network add Staff": "--deny or --grant",
    "policy network switch Staff": "--on or --off",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_both_are_named(command: str) -> None:
    done = CliRunner().invoke(app, ["--state", "/nowhere", *command.split()])
    assert done.exit_code == 2
    assert done.stderr == f"evertunnel: give {COMMANDS[command]}\n"


def test_a_gateway_of_ours_needs_pools_and_any_other_an_address() -> None:
    done = CliRunner().invoke(app, ["--state", "/nowhere", "gateway", "add", "gw1", "--public-name", "vpn.example.com"])
    assert done.exit_code == 2
    assert done.stderr == ("evertunnel: give --device-pool, or --address for a gateway that is no strongSwan of ours\n")
