"""`evertunnel backup`: one file of an installation, made while it is served."""

import hashlib
import io
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from evertunnel import __version__, clock
from evertunnel.audit import Audit, AuditEntry, show_path
from evertunnel.backup_archive import CONFIG, DATABASE, KEYS, MANIFEST, Manifest, Member, write_end, write_member
from evertunnel.config import FILE_NAME
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.installation import Installation
from evertunnel.keystore import sync_folder
from evertunnel.pki.encrypted_keys import verify_passphrase
from evertunnel.sealed_keys import build_seal, seal_keys

_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class _Copy:
    """The database, copied at one moment."""

    path: Path
    schema: str
    batches: int
    head: str


def verify_database_is_a_file(installation: Installation) -> None:
    """Raise InvalidInputError, with what to run instead, when the database is a server's."""
    if not installation.database_url.startswith(_SQLITE):
        raise InvalidInputError(
            "the database is not a file: run `pg_dump --format=custom --file=FILE` with the database_url of "
            f"{installation.folder.path / FILE_NAME}, and keep a copy of that file and of the folder keys apart from it"
        )


def make_backup(installation: Installation, out: Path, *, passphrase: str | None, actor: str) -> Manifest:
    """Write it to a new file; with a passphrase the keys are in it. Raises InvalidInputError, UnavailableError."""
    verify_database_is_a_file(installation)
    if passphrase is not None:
        verify_passphrase(passphrase)
    out = out.absolute()
    if os.path.lexists(out):  # pathlib's raises where no file can be
        raise InvalidInputError(f"{out} is there already and is not overwritten")
    now = clock.now()
    # Names that nobody gives to a file of his own: what a backup that died left there is removed.
    part, beside = (out.with_name(f".{out.name}.evertunnel-{what}") for what in ("backup", "database"))
    try:
        for path in (part, beside):
            path.unlink(missing_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        _record(installation, out, with_keys=passphrase is not None, actor=actor)
        copy = _copy_database(installation, beside)
        manifest = _write(installation, part, copy, passphrase, now)
        part.rename(out)
        sync_folder(out.parent)
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(f"{out} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        for path in (part, beside):
            with suppress(OSError):  # where none could be made there is none to remove
                path.unlink()
    return manifest


def _record(installation: Installation, out: Path, *, with_keys: bool, actor: str) -> None:
    """First: a copy that somebody takes away says in the original that it was taken."""
    store = installation.open_store()
    try:
        with store.write(clock.now()) as tx:
            tx.record(AuditEntry(Audit.BACKUP_MAKE, actor, show_path(out), "", {"with_keys": with_keys}))
    finally:
        store.close()


def _copy_database(installation: Installation, path: Path) -> _Copy:
    """One read transaction over all pages: a step by step copy would begin anew with each commit in between."""
    source_path = installation.database_url.removeprefix(_SQLITE)
    with (
        closing(sqlite3.connect(f"file:{source_path}?mode=rw", uri=True, timeout=15)) as source,
        closing(sqlite3.connect(path)) as copy,
    ):
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        batches, head = copy.execute("SELECT batch_number, batch_hash FROM ledger").fetchone()
        (schema,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    return _Copy(path, schema, batches, bytes(head).hex())


def _write(installation: Installation, path: Path, copy: _Copy, passphrase: str | None, now: datetime) -> Manifest:
    config = (installation.folder.path / FILE_NAME).read_bytes()
    with copy.path.open("rb") as database, path.open("wb") as file:
        size, digest = os.fstat(database.fileno()).st_size, hashlib.file_digest(database, "sha256").hexdigest()
        database.seek(0)
        manifest = Manifest(
            version=__version__,
            database_schema=copy.schema,
            made_at=now,
            organisation=installation.config.installation.organisation,
            public_name=installation.config.installation.public_name,
            batches=copy.batches,
            head=copy.head,
            files=(
                Member(name=CONFIG, size=len(config), sha256=hashlib.sha256(config).hexdigest()),
                Member(name=DATABASE, size=size, sha256=digest),
            ),
            keys=build_seal() if passphrase is not None else None,
        )
        encoded = manifest.encode()
        write_member(file, MANIFEST, io.BytesIO(encoded), len(encoded), made_at=now)
        write_member(file, CONFIG, io.BytesIO(config), len(config), made_at=now)
        write_member(file, DATABASE, database, size, made_at=now)
        if passphrase is not None and manifest.keys is not None:
            keys = installation.keystore.export_files()
            sealed = seal_keys(keys, passphrase, seal=manifest.keys, manifest=encoded)
            write_member(file, KEYS, io.BytesIO(sealed), len(sealed), made_at=now)
        write_end(file)
        file.flush()
        os.fsync(file.fileno())
    return manifest
