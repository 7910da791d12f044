"""evertunnel storage."""

from typing import Annotated

import typer

from evertunnel.cli.client import get_folder
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError

app = typer.Typer(no_args_is_help=True, help="Where the state is kept: a file of SQLite, or PostgreSQL.")


@app.callback()
def _main() -> None:
    """A group, although it has one command so far."""


@app.command()
def copy(
    context: typer.Context,
    to: Annotated[
        str, typer.Option(help="postgresql://... without a password, or sqlite:////var/lib/evertunnel/data/another.db.")
    ],
) -> None:
    """Copy the state into another, empty database, and use that one from then on. Stop `evertunnel serve` first.

    All or nothing: the chain of hashes is verified before and after, then database_url in evertunnel.toml is changed.
    The old database stays as it is; remove it when the new one serves. Keys are no part of it: they stay in the
    state folder.

    Example: evertunnel storage copy --to "postgresql:///evertunnel?host=/run/postgresql&user=evertunnel"
    """
    from evertunnel.app import copy_storage

    try:
        copied = copy_storage(get_folder(context), to, on_progress=_show)
    except DomainError as error:
        fail(str(error))
    say(f"Copied {copied} rows; the chain of hashes is whole. evertunnel.toml names the new database.")


def _show(table: str, copied: int, rows: int) -> None:
    if copied:
        say(f"{table}: {copied} of {rows}")
