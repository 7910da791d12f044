"""evertunnel serve."""

import typer

from evertunnel.cli.client import get_folder
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError


def serve(context: typer.Context) -> None:
    """Run all processes on this machine until stopped; start again what dies.

    As root each process gives up root for a user of its own. Example: evertunnel serve
    """
    from evertunnel.app import serve as run
    from evertunnel.logs import set_up_logs

    folder = get_folder(context)
    set_up_logs(process="supervisor")
    try:
        run(folder, on_ready=lambda: say(f"Serving {folder.path}. Stop with Ctrl-C."))
    except DomainError as error:
        fail(str(error))
