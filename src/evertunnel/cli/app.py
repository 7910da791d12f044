"""The command `evertunnel`."""

from pathlib import Path
from typing import Annotated

import typer

from evertunnel import __version__
from evertunnel.cli import (
    attempt,
    audit,
    backup,
    certificate,
    compliance,
    connect,
    deny,
    device,
    device_facts,  # noqa: F401  adds its commands to device.app
    gateway,
    group,
    init,
    keys,
    lab,
    policy,
    posture,
    profile,
    profile_files,  # noqa: F401  adds its commands to profile.app
    serve,
    session,
    storage,
    totp,  # noqa: F401  adds its commands to user.app
    upgrade,
    user,
)
from evertunnel.state_folder import DEFAULT, StateFolder

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Evertunnel: a self-hosted Always On VPN.\n\nExample: evertunnel init --organisation Example "
    "--public-name vpn.example.com",
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    state: Annotated[
        Path,
        typer.Option(envvar="EVERTUNNEL_STATE", help="The folder that holds everything of an installation."),
    ] = DEFAULT,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = StateFolder(state.absolute())


app.command()(init.init)
app.command()(serve.serve)
app.command()(upgrade.upgrade)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(connect.connect)
for name, noun in (
    ("user", user.app),
    ("group", group.app),
    ("device", device.app),
    ("certificate", certificate.app),
    ("compliance", compliance.app),
    ("posture", posture.app),
    ("keys", keys.app),
    ("policy", policy.app),
    ("profile", profile.app),
    ("gateway", gateway.app),
    ("session", session.app),
    ("attempt", attempt.app),
    ("deny", deny.deny_app),
    ("allow", deny.allow_app),
    ("audit", audit.app),
    ("storage", storage.app),
    ("lab", lab.app),
):
    app.add_typer(noun, name=name)
