"""evertunnel upgrade."""

import typer

from evertunnel.cli.client import get_folder
from evertunnel.cli.output import fail
from evertunnel.errors import DomainError


def upgrade(context: typer.Context) -> None:
    """Bring the database to this version's schema. Stop `evertunnel serve` first, and make a backup.

    Example: evertunnel upgrade
    """
    from evertunnel.app import upgrade as run

    folder = get_folder(context)
    try:
        run(folder)
    except DomainError as error:
        fail(str(error))
    typer.echo("The database has this version's schema.")
