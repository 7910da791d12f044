"""Take the root's key away from this machine, and bring it back. A crash between two steps loses no key.

Away: the encrypted file is written and read back, then the long revocation list and the audit entry are committed,
and only then the key here is overwritten and removed. The same command again does what is left to do.
"""

import os
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from evertunnel import clock
from evertunnel.audit import Audit, AuditEntry, show_path
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.installation import Installation
from evertunnel.keystore import sync_folder
from evertunnel.model import Authority
from evertunnel.pki.encrypted_keys import (
    IV_BYTES,
    SALT_BYTES,
    decrypt_private_key,
    encrypt_private_key,
    verify_passphrase,
)
from evertunnel.pki.keys import PrivateKey, encode_public_key
from evertunnel.signer import LocalSigner
from evertunnel.storage import authorities
from evertunnel.storage.store import Store

LIST_DAYS = 365
_MAXIMUM_FILE_BYTES = 64 * 1024
_PROCESS, _NAME = "signer", Authority.ROOT.value


def take_offline(
    installation: Installation, out: Path, passphrase: str, *, list_days: int = LIST_DAYS, actor: str
) -> datetime:
    """Returns until when the root's revocation list is good. Raises InvalidInputError, UnavailableError."""
    verify_passphrase(passphrase)
    out = out.absolute()
    if out.resolve().is_relative_to(installation.folder.path.resolve()):
        raise InvalidInputError(f"{out} lies in the state folder: choose a place that is taken away from this machine")
    keystore = installation.keystore
    store = installation.open_store()
    try:
        wanted = _load_public_key(store)
        if not keystore.has_key(_PROCESS, _NAME):
            raise InvalidInputError("the root's key is offline already")
        if os.path.lexists(out):
            key = _read_file(out, passphrase, wanted)  # written by a command that did not come to its end
            until = _find_list_end(store)
            if _is_damaged(installation):
                keystore.erase_key(_PROCESS, _NAME)
                return until
        else:
            key = keystore.load_key(_PROCESS, _NAME)
            _verify_same(key, wanted, f"{installation.folder.path}/keys/signer/root.pem")
            _write_file(out, key, passphrase, wanted)
        until = _record(installation, store, key, out, timedelta(days=list_days), actor)
        keystore.erase_key(_PROCESS, _NAME)
    finally:
        store.close()
    return until


def bring_online(installation: Installation, source: Path, passphrase: str, *, actor: str) -> None:
    """Put the key of such a file in its place, if it is the root's. Raises InvalidInputError, UnavailableError."""
    keystore = installation.keystore
    store = installation.open_store()
    try:
        key = _read_file(source, passphrase, _load_public_key(store))
        if keystore.has_key(_PROCESS, _NAME) and not _is_damaged(installation):
            raise InvalidInputError("the root's key is online already")
        keystore.replace_key(_PROCESS, _NAME, key)
        with store.write(clock.now()) as tx:
            tx.record(AuditEntry(Audit.AUTHORITY_ONLINE, actor, _NAME, "", {"file": show_path(source)}))
        LocalSigner(store, {Authority.ROOT: key}, installation.addresses, clock.now).publish_revocations()
    finally:
        store.close()


def _record(
    installation: Installation, store: Store, key: PrivateKey, out: Path, lifetime: timedelta, actor: str
) -> datetime:
    LocalSigner(store, {Authority.ROOT: key}, installation.addresses, clock.now).publish_list(Authority.ROOT, lifetime)
    until = _find_list_end(store)
    details = {"file": show_path(out), "list_until": f"{until:%F}"}
    with store.write(clock.now()) as tx:
        tx.record(AuditEntry(Audit.AUTHORITY_OFFLINE, actor, _NAME, "", details))
    return until


def _is_damaged(installation: Installation) -> bool:
    """Whether the key here was overwritten, or half written, when something died."""
    try:
        installation.keystore.load_key(_PROCESS, _NAME)
    except UnavailableError:
        return True
    return False


def _load_public_key(store: Store) -> bytes:
    with store.read() as connection:
        key = authorities.load_authorities(connection)[Authority.ROOT].public_key()
    return encode_public_key(key)  # type: ignore[arg-type]  # ours are of two kinds


def _find_list_end(store: Store) -> datetime:
    with store.read() as connection:
        row = authorities.find_revocation_list(connection, Authority.ROOT)
    if row is None:
        raise UnavailableError("the root has no revocation list yet: start `evertunnel serve` once")
    until: datetime = row.next_update
    return until


def _verify_same(key: PrivateKey, wanted: bytes, where: str) -> None:
    if encode_public_key(key.public_key()) != wanted:
        raise InvalidInputError(f"{where} is another key than that of this installation's root")


def _read_file(path: Path, passphrase: str, wanted: bytes) -> PrivateKey:
    try:
        with path.open("rb") as file:
            pem = file.read(_MAXIMUM_FILE_BYTES)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        key = decrypt_private_key(pem, passphrase)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    _verify_same(key, wanted, str(path))
    return key


def _write_file(path: Path, key: PrivateKey, passphrase: str, wanted: bytes) -> None:
    """Under another name until it was read back: a file of the name asked for is whole."""
    pem = encrypt_private_key(key, passphrase, salt=secrets.token_bytes(SALT_BYTES), iv=secrets.token_bytes(IV_BYTES))
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        # No chmod afterwards: the stick it goes to may know no modes.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(descriptor)
        _read_file(part, passphrase, wanted)
        part.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error
