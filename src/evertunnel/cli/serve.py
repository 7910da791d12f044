"""evertunnel serve."""

import sys

import typer

from evertunnel.cli.client import get_folder
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError, InvalidInputError


def serve(context: typer.Context) -> None:
    """Run all processes on this machine until stopped; start again what dies.

    With `sealing = "passphrase"` it asks for it first, or reads a line of standard input.
    As root each process gives up root for a user of its own. Example: evertunnel serve
    """
    from evertunnel.app import serve as run
    from evertunnel.logs import set_up_logs

    folder = get_folder(context)
    set_up_logs(process="supervisor")
    try:
        run(
            folder,
            on_ready=lambda: say(f"Serving {folder.path}. Stop with Ctrl-C."),
            ask_passphrase=_ask_passphrase,
        )
    except DomainError as error:
        fail(str(error))


def _ask_passphrase() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Passphrase", hide_input=True))
    line = sys.stdin.buffer.readline().rstrip(b"\n")
    if not line:
        raise InvalidInputError("no passphrase came on standard input")
    return line.decode("utf-8", "surrogateescape")
