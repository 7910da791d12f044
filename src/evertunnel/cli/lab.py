"""evertunnel lab."""

from pathlib import Path
from typing import Annotated

import typer

from evertunnel.cli.output import fail, print_json, say
from evertunnel.errors import DomainError

app = typer.Typer(no_args_is_help=True, help="A private network on this machine to try everything in; needs root.")

_FOLDER = Path("/var/tmp/evertunnel-lab")  # noqa: S108  root's own, and refused when it exists
Folder = Annotated[Path, typer.Option("--folder", help="Where the lab keeps everything.")]


@app.command()
def up(folder: Folder = _FOLDER) -> None:
    """Build the lab: internet, gateway, laptop, corporate web server.

    Example: evertunnel lab up
    """
    from evertunnel.lab.lab import Lab

    lab = Lab(folder)
    try:
        lab.up(lambda text: say(f"  {text}"))
    except DomainError as error:
        fail(str(error))
    say(f"The lab is up. Its installation: evertunnel --state {lab.state} session list")


@app.command()
def status(folder: Folder = _FOLDER, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what of the lab runs.

    Example: evertunnel lab status
    """
    from evertunnel.lab.lab import Lab

    running = Lab(folder).processes.list_running()
    if json:
        print_json([{"process": name, "pid": pid} for name, pid in running.items()])
        return
    if not running:
        fail(f"no lab is up in {folder}")
    for name, pid in running.items():
        say(f"{name:20}running, pid {pid}")


@app.command()
def down(folder: Folder = _FOLDER) -> None:
    """Take the lab down and leave nothing.

    Example: evertunnel lab down
    """
    from evertunnel.lab.lab import Lab

    try:
        Lab(folder).down()
    except DomainError as error:
        fail(str(error))
    typer.echo("The lab is down.")


@app.command()
def demo(
    folder: Folder = _FOLDER,
    keep: Annotated[bool, typer.Option(envvar="KEEP", help="Leave the lab up at the end.")] = False,
) -> None:
    """Build the lab, run the whole story, compare, take it down. Exit 1 when a step differs.

    Example: evertunnel lab demo
    """
    from evertunnel.lab.demo import main
    from evertunnel.lab.lab import Lab

    try:
        raise typer.Exit(main(Lab(folder), keep=keep))
    except DomainError as error:
        fail(str(error))
