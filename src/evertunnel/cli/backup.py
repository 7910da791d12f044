"""evertunnel backup and evertunnel restore."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evertunnel.cli.client import get_folder
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError
from evertunnel.state_folder import StateFolder

if TYPE_CHECKING:
    from evertunnel.installation import Installation


def backup(
    context: typer.Context,
    *,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Keys too, under a passphrase that is asked for.")
    ] = False,
) -> None:
    """Write configuration and database to one file, while everything is served.

    Keys are not in it unless asked for: whoever has them is this installation.

    Example: evertunnel backup --out /media/backup/evertunnel.tar
    """
    from evertunnel.backup import make_backup, verify_database_is_a_file
    from evertunnel.cli.user import read_password
    from evertunnel.installation import Installation
    from evertunnel.privileges import find_user_name

    try:
        installation = Installation(get_folder(context))
        verify_database_is_a_file(installation)
        passphrase = read_password(prompt="Passphrase") if with_keys else None
        made = make_backup(installation, out, passphrase=passphrase, actor=find_user_name(os.getuid()))
    except DomainError as error:
        fail(str(error))
    say(f"Wrote {out}: {made.batches} batches of records, head {made.head}.")
    if with_keys:
        say("The keys are in it under the passphrase, those of authorities that are offline excepted.")
        _say_where_sealing_key_is(installation)
    else:
        say(f"No key is in it: keep a copy of {installation.folder.path}/keys apart from it.")


def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `evertunnel backup` wrote.")],
    *,
    state: Annotated[Path | None, typer.Option(help="The empty folder to restore to.")] = None,
    keys: Annotated[
        Path | None, typer.Option(help="A copy of the old folder keys, for a backup without keys in it.")
    ] = None,
    user_base: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 100, help="Number the users of the processes from here.")
    ] = None,
) -> None:
    """Make an installation from a backup in an empty folder, on this machine or a new one.

    What was changed after the backup is lost: denials and revocations too, so make them again before serving.

    Example: evertunnel restore /media/backup/evertunnel.tar --state /var/lib/evertunnel
    """
    from evertunnel.cli.user import read_password
    from evertunnel.installation import Installation
    from evertunnel.privileges import find_user_name
    from evertunnel.restore import restore as run

    folder = StateFolder(state.absolute()) if state else get_folder(context)
    try:
        manifest = run(
            source,
            folder,
            lambda: read_password(confirm=False, prompt="Passphrase"),
            keys_folder=keys,
            user_base=user_base,
            actor=find_user_name(os.getuid()),
        )
    except DomainError as error:
        fail(str(error))
    say(f"Restored {manifest.organisation} ({manifest.public_name}) of {manifest.made_at:%F %T} UTC to {folder.path}.")
    if manifest.keys is not None or keys is not None:
        _say_where_sealing_key_is(Installation(folder))
    say("What was denied or revoked after that moment is not: do it again once `evertunnel serve` runs.")
    if manifest.keys is None and keys is None:
        say(f"No key was in it, so this cannot serve yet: remove {folder.path}, and restore again with --keys and")
        say("your copy of the folder keys.")


def _say_where_sealing_key_is(installation: "Installation") -> None:
    """What is no file of ours is in no backup, and without it no secret in the database opens."""
    if installation.config.keys.sealing == "credential":
        say("The sealing key is a credential of systemd and not in it: keep a copy of that apart from the backup.")
