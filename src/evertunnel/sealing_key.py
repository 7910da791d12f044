"""Where the key that seals secrets in the database comes from, and moving it: a file, a credential, a passphrase.

As a file it lies beside the database, for its owner alone. As a credential systemd gives it to `serve` and to nothing
else (LoadCredential, LoadCredentialEncrypted). Under a passphrase it lies in keys/secrets.key.sealed, and somebody has
to give the passphrase to each `serve`. In the last two cases no process of ours can read it from a file.
"""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

from evertunnel import clock
from evertunnel.audit import Audit, AuditEntry
from evertunnel.backup_archive import KeySeal
from evertunnel.config import FILE_NAME, parse_config
from evertunnel.config_text import set_settings
from evertunnel.errors import DomainError, InvalidInputError, UnavailableError
from evertunnel.installation import Installation
from evertunnel.keystore import (
    SEALING_KEY_BYTES,
    SIGN_IN_KEY,
    SIGN_IN_PROCESS,
    SealingDescriptors,
    derive_sign_in_key,
    sync_folder,
)
from evertunnel.pki.encrypted_keys import verify_passphrase
from evertunnel.sealed_keys import build_seal, seal_keys, unseal_keys

CREDENTIAL = "evertunnel-sealing-key"
_NAME, _SEALED_NAME = "secrets.key", "secrets.key.sealed"
_CONTEXT = b"evertunnel sealing key"  # a sealed key of a backup is not taken for one


def open_sealing_key(installation: Installation, ask_passphrase: Callable[[], str]) -> SealingDescriptors:
    """The key, and the one derived from it, in memory without a name. Raises InvalidInputError, UnavailableError.

    A process that is forked from here shares all memory, but a descriptor it can close: so the key, the passphrase and
    what was derived on the way exist in a helper only, which ends.
    """
    opened = SealingDescriptors(os.memfd_create("sealing-key"), os.memfd_create("sign-in-key"))
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            key = _load(installation, installation.config.keys.sealing, ask_passphrase, None)
            os.write(opened.sealing, key)
            os.write(opened.sign_in, derive_sign_in_key(key))
            status = 0
        except DomainError as error:
            os.write(writer, str(error).encode())
        except BaseException as error:
            os.write(writer, f"no sealing key: {type(error).__name__}".encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        problem = answer.read(4096).decode(errors="replace")
    if os.waitpid(pid, 0)[1]:
        os.close(opened.sealing)
        os.close(opened.sign_in)
        raise InvalidInputError(problem or "the helper that reads the sealing key was killed")
    return opened


def move_sealing_key(
    installation: Installation,
    sealing: str,
    *,
    source: Path | None,
    out: Path | None,
    ask_passphrase: Callable[[], str],
    ask_new_passphrase: Callable[[], str],
    actor: str,
) -> None:
    """Keep the same key another way; nothing serves meanwhile. A death between two steps leaves it in both places.

    Raises InvalidInputError, UnavailableError.
    """
    keys, now_by = installation.folder.path / "keys", installation.config.keys.sealing
    key = _load(installation, now_by, ask_passphrase, source)
    match sealing:
        case "file":
            _replace(keys / _NAME, key)
        case "credential" if out is not None:
            if out.resolve().is_relative_to(installation.folder.path.resolve()):
                raise InvalidInputError(f"{out} lies in the state folder: choose another place")
            if out.exists() and out.read_bytes() != key:
                raise InvalidInputError(f"{out} is there already and is not overwritten")
            _replace(out, key)
        case "passphrase":
            _replace(keys / _SEALED_NAME, _seal(key, ask_new_passphrase()))
        case _:
            raise InvalidInputError("give the file of the credential with --out")
    config = installation.folder.path / FILE_NAME
    text = set_settings(config.read_text(encoding="utf-8"), "keys", {"sealing": sealing})
    if parse_config(text, str(config)).keys.sealing != sealing:
        raise InvalidInputError(f"{config}: change [keys] sealing to {sealing!r} by hand and run this again")
    _replace(config, text.encode(), mode=0o644)
    store = installation.open_store()
    try:
        with store.write(clock.now()) as tx:
            tx.record(AuditEntry(Audit.KEYS_SEAL, actor, sealing, "", {"before": now_by}))
    finally:
        store.close()
    if sealing != "passphrase":
        (keys / _SEALED_NAME).unlink(missing_ok=True)
    if sealing != "file":
        for path in (keys / _NAME, *keys.glob(f"*/{_NAME}"), keys / SIGN_IN_PROCESS / SIGN_IN_KEY):
            _erase(path)


def _load(installation: Installation, sealing: str, ask_passphrase: Callable[[], str], source: Path | None) -> bytes:
    keys = installation.folder.path / "keys"
    match sealing:
        case "passphrase":
            return _unseal(_read(keys / _SEALED_NAME), ask_passphrase())
        case "credential" if source is None:
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise InvalidInputError(
                    f"the sealing key is a credential of systemd: start the service, whose unit loads {CREDENTIAL}"
                )
            path = Path(folder) / CREDENTIAL
        case "credential":
            assert source is not None
            path = source
        case _:
            path = keys / _NAME
    key = _read(path)
    if len(key) != SEALING_KEY_BYTES:
        raise InvalidInputError(f"{path} is no sealing key: it has {len(key)} bytes and not {SEALING_KEY_BYTES}")
    return key


def _seal(key: bytes, passphrase: str) -> bytes:
    verify_passphrase(passphrase)
    seal = build_seal()
    sealed = seal_keys({_NAME: key}, passphrase, seal=seal, manifest=_CONTEXT)
    data = json.dumps({"seal": seal.model_dump(), "sealed": base64.b64encode(sealed).decode()}).encode()
    assert _unseal(data, passphrase) == key
    return data


def _unseal(data: bytes, passphrase: str) -> bytes:
    try:
        document = json.loads(data)
        seal, sealed = KeySeal.model_validate(document["seal"]), base64.b64decode(document["sealed"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"keys/{_SEALED_NAME} is damaged") from error
    try:
        return unseal_keys(sealed, passphrase, seal=seal, manifest=_CONTEXT)[_NAME]
    except (InvalidInputError, KeyError) as error:
        raise InvalidInputError("the sealing key does not open: another passphrase, or it was damaged") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"the key {path} cannot be read: {error.strerror}") from error


def _replace(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """All of it in place of whatever was there."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        beside.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error


def _erase(path: Path) -> None:
    try:
        with path.open("r+b", buffering=0) as file:
            file.write(bytes(SEALING_KEY_BYTES))
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(f"the key {path} cannot be removed: {error.strerror}") from error
