"""`evertunnel restore`: an installation from a backup, in an empty folder, all or nothing."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from cryptography import x509
from sqlalchemy import update

from evertunnel import clock
from evertunnel.accounts import build_processes, find_owners
from evertunnel.audit import Audit, AuditEntry, show_path
from evertunnel.backup_archive import CONFIG, DATABASE, KEYS, ArchiveReader, Manifest
from evertunnel.config import FILE_NAME, Config, parse_config
from evertunnel.config_text import remove_setting, set_settings
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.keystore import SEALING_KEY_BYTES, read_key_files
from evertunnel.sealed_keys import unseal_keys
from evertunnel.state_folder import StateFolder
from evertunnel.storage import authorities, gateways, tables
from evertunnel.storage.gateways import radius_secret_context
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.schema_version import CURRENT
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain

# Lists signed after the backup was made have numbers we do not know; a list's number may never fall (RFC 5280 5.2.3).
_LIST_NUMBERS_SKIPPED = 10_000
# The root's may be offline, and access authorities' on the node that made them; the other processes make theirs anew.
_NEEDED_KEYS = (("signer", "issuing"), ("signer", "device"), ("radius", "policy-server"), ("web-public", "https"))
_SEALING_KEYS = {"file": "secrets.key", "passphrase": "secrets.key.sealed"}


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
        folder.keystore.create_folders(owners=owners.users, group=owners.group)
        folder.keystore.import_files(keys)
        database = folder.path / "data" / "evertunnel.db"
        with database.open("xb") as out:
            if archive.verify({DATABASE: out.write}) != manifest:
                raise InvalidInputError(f"{source} was changed while it was read")
            out.flush()
            os.fsync(out.fileno())
        _check_database(folder, manifest, source, actor)
        if keys:
            _check_keys(folder, keys, config)
        folder.give_database(group=owners.group)
        # Last: without it nothing serves what a command that was killed left half checked.
        path = folder.path / FILE_NAME
        path.write_text(config_text, encoding="utf-8")
        path.chmod(0o644)
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


def _check_keys(folder: StateFolder, keys: Mapping[str, bytes], config: Config) -> None:
    """Raise DomainError for keys nobody could serve with: some are missing or damaged, or of another database."""
    for process, name in _NEEDED_KEYS:
        if f"{process}/{name}.pem" not in keys:
            raise InvalidInputError(f"keys: {process}/{name}.pem is missing")
        folder.keystore.load_key(process, name)
    sealing = _SEALING_KEYS.get(config.keys.sealing)
    if sealing is not None and sealing not in keys:
        raise InvalidInputError(f"keys: {sealing} is missing")
    if sealing == _SEALING_KEYS["file"] and len(keys[sealing]) != SEALING_KEY_BYTES:
        raise InvalidInputError(f"keys: {sealing} is damaged: it has {len(keys[sealing])} bytes")
    store = Store(folder.database_url)
    try:
        with store.read() as connection:
            known = {row.name: row.certificate_der for row in authorities.list_authorities(connection)}
            sealed = gateways.list_gateways(connection)[:1]
    finally:
        store.close()
    for name, certificate_der in known.items():
        place = f"signer/{name}.pem"
        if place in keys:
            certified = x509.load_der_x509_certificate(certificate_der).public_key()
            if folder.keystore.load_key("signer", name).public_key() != certified:
                raise InvalidInputError(f"keys: {place} is of another installation, or an older one")
    for row in sealed if "secrets.key" in keys else ():
        try:
            folder.keystore.unseal(row.radius_secret_sealed, context=radius_secret_context(row.id))
        except UnavailableError as error:
            raise InvalidInputError("keys: secrets.key is of another installation, or an older one") from error


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
                tx.record(AuditEntry(Audit.BACKUP_RESTORE, actor, show_path(source), "", details))
        finally:
            store.close()
    except UnavailableError as error:
        raise InvalidInputError(f"{source}: {error}") from error
    finally:
        os.umask(previous_mask)
