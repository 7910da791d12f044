"""evertunnel keys."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evertunnel.cli.client import get_folder
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError

app = typer.Typer(no_args_is_help=True, help="The key that seals secrets in the database.")


class Sealing(StrEnum):
    """Where it may be."""

    FILE = "file"
    CREDENTIAL = "credential"
    PASSPHRASE = "passphrase"  # noqa: S105  a word, not one


@app.callback()
def _main() -> None:
    """A group, although there is one command so far."""


@app.command()
def seal_with(
    context: typer.Context,
    sealing: Annotated[Sealing, typer.Argument(help="file, credential (of systemd) or passphrase.")],
    *,
    out: Annotated[Path | None, typer.Option(help="credential: the file to write.")] = None,
    source: Annotated[
        Path | None, typer.Option("--in", help="The credential's file, when the key is a credential now.")
    ] = None,
) -> None:
    """Keep the sealing key another way; stop `evertunnel serve` first.

    It stays the same key, so that nothing in the database is sealed anew. Keep a copy of it, or of the passphrase:
    without it no RADIUS secret opens.

    Example: evertunnel keys seal-with credential --out /etc/evertunnel/sealing.key
    """
    from evertunnel.cli.user import read_password
    from evertunnel.installation import Installation
    from evertunnel.privileges import find_user_name
    from evertunnel.sealing_key import CREDENTIAL, move_sealing_key

    folder = get_folder(context)
    try:
        installation = Installation(folder)
        lock = folder.lock()
        try:
            move_sealing_key(
                installation,
                sealing.value,
                source=source,
                out=out.absolute() if out else None,
                ask_passphrase=lambda: read_password(confirm=False, prompt="Passphrase"),
                ask_new_passphrase=lambda: read_password(prompt="New passphrase"),
                actor=find_user_name(os.getuid()),
            )
        finally:
            os.close(lock)
    except DomainError as error:
        fail(str(error))
    match sealing:
        case Sealing.FILE:
            say(f"The sealing key is {folder.path}/keys/secrets.key.")
        case Sealing.PASSPHRASE:
            say(f"It is under the passphrase in {folder.path}/keys/secrets.key.sealed; `serve` asks for it.")
        case Sealing.CREDENTIAL:
            say(
                f"The sealing key is {out}. The unit loads it with LoadCredential={CREDENTIAL}:{out}, or, bound to this"
            )
            say("machine, LoadCredentialEncrypted= of what `systemd-creds encrypt` makes of it.")
