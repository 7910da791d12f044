"""`evertunnel restore`: an installation from a backup, in an empty folder, all or nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import update

from evertunnel import clock
from evertunnel.accounts import build_processes, find_owners
from evertunnel.audit import Audit, AuditEntry
from evertunnel.backup_archive import CONFIG, DATABASE, KEYS, ArchiveReader, Manifest
from evertunnel.config import FILE_NAME, Config, parse_config
from evertunnel.config_text import remove_setting, set_settings
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.keystore import read_key_files
from evertunnel.sealed_keys import unseal_keys
from evertunnel.state_folder import StateFolder
from evertunnel.storage import tables
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.schema_version import CURRENT
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain

# Lists signed after the backup was made have numbers we do not know; a list's number may never fall (RFC 5280 5.2.3).
_LIST_NUMBERS_SKIPPED = 10_000


def restore(
    source: Path,
    folder: StateFolder,
    ask_passphrase: Callable[[], str],
    *,
    keys_folder: Path | None = None,
    user_base: int | None = None,
    actor: str,
) -> Manifest:
    """Returns the manifest. Keys that are not in it come from `keys_folder`, a copy of the old one. Raises DomainError.

    Without either the keys must still be put in.
    """
    folder.verify_empty()
    if os.geteuid() == 0:
        folder.verify_reachable()
    try:
        with source.open("rb") as file:
            return _restore(file, source, folder, ask_passphrase, keys_folder, user_base, actor)
    except OSError as error:
        raise InvalidInputError(f"{source} cannot be restored: {error.strerror or error}") from error


def _restore(
    file: BinaryIO,
    source: Path,
    folder: StateFolder,
    ask_passphrase: Callable[[], str],
    keys_folder: Path | None,
    user_base: int | None,
    actor: str,
) -> Manifest:
    archive = ArchiveReader(file, str(source))
    text, sealed = bytearray(), bytearray()
    manifest = archive.verify({CONFIG: text.extend, KEYS: sealed.extend})
    if manifest.database_schema > CURRENT:
        raise InvalidInputError(
            f"{source} has schema {manifest.database_schema}, this version knows {CURRENT}: it was made by a newer "
            f"version ({manifest.version}); install that one"
        )
    config_text, config = _rewrite_config(bytes(text), str(source), user_base)
    keys = _read_keys(keys_folder) if keys_folder is not None else {}
    if manifest.keys is not None:
        keys = unseal_keys(bytes(sealed), ask_passphrase(), seal=manifest.keys, manifest=manifest.encode())
    owners = find_owners(config.processes, optional=config.listen.optional_processes)
    existed = folder.path.exists()
    try:
        folder.create(group=owners.group, gateway_owner=owners.users["gateway"])
        path = folder.path / FILE_NAME
        path.write_text(config_text, encoding="utf-8")
        path.chmod(0o644)
        folder.keystore.create_folders(owners=owners.users, group=owners.group)
        folder.keystore.import_files(keys)
        database = folder.path / "data" / "evertunnel.db"
        with database.open("xb") as out:
            if archive.verify({DATABASE: out.write}) != manifest:
                raise InvalidInputError(f"{source} was changed while it was read")
            out.flush()
            os.fsync(out.fileno())
        _check_database(folder, manifest, source, actor)
        folder.give_database(group=owners.group)
    except BaseException:
        folder.remove(keep=existed)
        raise
    return manifest


def _read_keys(folder: Path) -> dict[str, bytes]:
    keys = read_key_files(folder)
    if "signer/issuing.pem" not in keys:
        raise InvalidInputError(f"{folder} is no copy of a folder keys: signer/issuing.pem is not in it")
    return keys


def _rewrite_config(raw: bytes, source: str, user_base: int | None) -> tuple[str, Config]:
    """The configuration for this machine: its users, and the database in the state folder."""
    where = f"{source}: {CONFIG}"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{where} is no text") from error
    text = remove_setting(text, "database_url")
    if user_base is not None:
        wanted = build_processes(user_base)
        text = set_settings(text, "processes", wanted.model_dump())
    config = parse_config(text, where)
    if config.database_url or (user_base is not None and config.processes != wanted):
        raise InvalidInputError(f"{where} is written in a way in which its users cannot be changed")
    return text, config


def _check_database(folder: StateFolder, manifest: Manifest, source: Path, actor: str) -> None:
    """Raise InvalidInputError unless every record is as it was committed, up to the head the manifest names."""
    previous_mask = os.umask(0o007)
    try:
        store = Store(folder.database_url)
        try:
            upgrade_schema(store)
            with store.read() as connection:
                report = verify_chain(connection)
            if report.problems:
                raise InvalidInputError(f"{source}: the records in it were changed: {report.problems[0]}")
            if (report.batches, report.head.hex()) != (manifest.batches, manifest.head):
                raise InvalidInputError(f"{source}: its records end elsewhere than its manifest says")
            with store.write(clock.now()) as tx:
                numbers = tables.revocation_lists.c.number
                tx.connection.execute(update(tables.revocation_lists).values(number=numbers + _LIST_NUMBERS_SKIPPED))
                details = {"made_at": f"{manifest.made_at:%F %T}", "head": manifest.head}
                tx.record(AuditEntry(Audit.BACKUP_RESTORE, actor, str(source), "", details))
        finally:
            store.close()
    except UnavailableError as error:
        raise InvalidInputError(f"{source}: {error}") from error
    finally:
        os.umask(previous_mask)
