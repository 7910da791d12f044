"""evertunnel posture."""

from pathlib import Path
from typing import Annotated

import typer

from evertunnel.cli.output import fail, print_json, print_table, say
from evertunnel.errors import AccessDeniedError, DomainError

app = typer.Typer(no_args_is_help=True, help="Posture: what this machine is like. For clients; needs no server here.")


@app.command()
def show(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what this machine would report of itself; what is missing cannot be told here and counts as unknown.

    As root it can tell more, such as the firewall.

    Example: evertunnel posture show
    """
    from evertunnel.connector.posture import collect_posture

    posture = collect_posture()
    if json:
        print_json(posture)
        return
    print_table(
        [{"fact": name, "value": value} for name, value in posture.items()],
        {"fact": "FACT", "value": "VALUE"},
        empty="",
    )


@app.command()
def report(
    *,
    server: Annotated[str, typer.Option(help="Enrolment server, for example https://vpn.example.com.")],
    device: Annotated[Path, typer.Option(help="Folder with the device's certificate.pem, key.pem and root.pem.")],
    server_address: Annotated[str, typer.Option(help="Address of the enrolment server; default: its name.")] = "",
) -> None:
    """Report this machine's posture, signed with the device's key. It counts for a day, so report at least hourly.

    Exit 1: refused; 3: cannot be reached.

    Example: evertunnel posture report --server https://vpn.example.com --device laptop1
    """
    from evertunnel.connector.enrolment import load_device_identity, send_posture
    from evertunnel.connector.posture import collect_posture

    if not server.lower().startswith("https://"):
        fail(f"--server: {server} does not begin with https://", code=2)
    try:
        posture = collect_posture()
        send_posture(server, load_device_identity(device), posture, address=server_address)
    except AccessDeniedError as error:
        fail(str(error))
    except DomainError as error:
        fail(str(error), code=3)
    say(f"Reported {len(posture)} facts.")
