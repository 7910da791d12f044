"""Keys on disk: which process may read which, and the key that seals secrets in the database.

keys/secrets.key             seals RADIUS secrets and gate paths; readable by its owner alone, never in the database
keys/<process>/secrets.key   the same for each process that seals or opens them, and for no other
keys/web-public/sign-in.key  derived from it; seals what sign-ins are checked with, opens nothing else
keys/<process>/*.pem         private keys of one process, mode 0600, folder 0700, owned by that process's user
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.pki.keys import PrivateKey, decode_private_key, encode_private_key

# Who makes secrets, and who needs them opened. Neither the signer nor what listens to the world.
SEALING_PROCESSES = ("radius", "web-admin", "gateway", "gate", "agents")
# It listens to the world and checks sign-ins: it gets a key for that, which says nothing of the one it comes from.
SIGN_IN_PROCESS = "web-public"
SIGN_IN_KEY = "sign-in.key"
_SEALING_KEY = "secrets.key"
_NONCE_BYTES = 12
SEALING_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class SealingDescriptors:
    """Nameless files in memory with the sealing key, and with the one derived from it for sign-ins."""

    sealing: int
    sign_in: int


class Keystore:
    """The keys folder of a state folder; a process seals and opens with its own copy of the sealing key."""

    def __init__(
        self,
        state_folder: Path,
        *,
        process: str = "",
        descriptors: SealingDescriptors | None = None,
        for_sign_in: bool = False,
    ) -> None:
        """With descriptors the sealing key is read from them, and lies in no file."""
        self._state_folder = state_folder
        self._folder = state_folder / "keys"
        self._process = process
        self._descriptors = descriptors
        self._for_sign_in = for_sign_in

    def for_process(self, process: str) -> "Keystore":
        """The same as a process uses it."""
        return Keystore(self._state_folder, process=process, descriptors=self._descriptors)

    def for_sign_in(self) -> "Keystore":
        """The same, but it seals and opens what sign-ins are checked with."""
        return Keystore(self._state_folder, process=self._process, descriptors=self._descriptors, for_sign_in=True)

    def create(self, *, owners: dict[str, int], group: int) -> None:
        """Make the folders and the sealing key. `owners` maps each process to its user id."""
        self.create_folders(owners=owners, group=group)
        key = secrets.token_bytes(SEALING_KEY_BYTES)
        self._write(self._folder / _SEALING_KEY, key, mode=0o600, owner=-1, group=-1)
        self.hand_out(owners=owners)

    def create_folders(self, *, owners: dict[str, int], group: int) -> None:
        """Make the folders, without a key. Raises OSError."""
        self._folder.mkdir(mode=0o750)
        os.chown(self._folder, -1, group)
        for process, owner in owners.items():
            folder = self._folder / process
            folder.mkdir(mode=0o700)
            os.chown(folder, owner, -1)

    def ensure_folders(self, *, owners: dict[str, int]) -> None:
        """Make the folder of each process that has none yet. Raises UnavailableError."""
        try:
            for process, owner in owners.items():
                if not (folder := self._folder / process).exists():
                    folder.mkdir(mode=0o700)
                    os.chown(folder, owner, -1)
        except OSError as error:
            raise UnavailableError(f"the folder {error.filename} cannot be made: {error.strerror}") from error

    def hand_out(self, *, owners: dict[str, int]) -> None:
        """Give each process that needs the sealing key its copy, if it has none. Raises UnavailableError.

        An installation made before there were copies gets them so, and its one key is closed for the group.
        """
        original = self._folder / _SEALING_KEY
        try:
            if original.stat().st_mode & 0o077:
                original.chmod(0o600)
            key = original.read_bytes()
            for process in SEALING_PROCESSES:
                folder = self._folder / process
                if process not in owners or (folder / _SEALING_KEY).exists():
                    continue
                if not folder.exists():
                    folder.mkdir(mode=0o700)
                    os.chown(folder, owners[process], -1)
                self._write(folder / _SEALING_KEY, key, mode=0o600, owner=owners[process], group=-1)
            sign_in = self._folder / SIGN_IN_PROCESS / SIGN_IN_KEY
            if SIGN_IN_PROCESS in owners and not sign_in.exists():
                self._write(sign_in, derive_sign_in_key(key), mode=0o600, owner=owners[SIGN_IN_PROCESS], group=-1)
        except OSError as error:
            raise UnavailableError(f"the key {error.filename} cannot be handed out: {error.strerror}") from error

    def export_files(self) -> dict[str, bytes]:
        """Every key with its place below the folder, for a backup. Raises UnavailableError."""
        return read_key_files(self._folder)

    def import_files(self, files: dict[str, bytes]) -> None:
        """Put such keys into folders that were made before. Raises InvalidInputError, UnavailableError."""
        for place, data in files.items():
            path = self._folder / place
            if path.parent not in (self._folder, *(child for child in self._folder.iterdir() if child.is_dir())):
                raise InvalidInputError(f"{place!r} is no place of a key")
            if path.name.startswith(".") or "\0" in place:
                raise InvalidInputError(f"{place!r} is no name of a key")
            owner = path.parent.stat().st_uid if path.parent != self._folder else -1
            self._write(path, data, mode=0o600, owner=owner, group=-1)

    def store_key(self, process: str, name: str, key: PrivateKey) -> None:
        """Keep a private key for a process alone. An existing one is not overwritten: raises InvalidInputError."""
        folder = self._folder / process
        owner = folder.stat().st_uid
        self._write(self._find_path(process, name), encode_private_key(key), mode=0o600, owner=owner, group=-1)

    def remove_key(self, process: str, name: str) -> None:
        """Forget a private key of a process; one that is gone already is fine. Raises UnavailableError."""
        path = self._find_path(process, name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be removed: {error.strerror}") from error

    def has_key(self, process: str, name: str) -> bool:
        """Whether a key lies there, in whatever state. Raises UnavailableError when that cannot be seen."""
        path = self._find_path(process, name)
        try:
            return path.exists()
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be read: {error.strerror}") from error

    def list_keys(self, process: str) -> list[str]:
        """The names of a process's private keys. Raises UnavailableError when the folder cannot be read."""
        folder = self._folder / process
        try:
            return sorted(path.stem for path in folder.iterdir() if path.suffix == ".pem")
        except OSError as error:
            raise UnavailableError(f"the folder {folder} cannot be read: {error.strerror}") from error

    def replace_key(self, process: str, name: str, key: PrivateKey) -> None:
        """Keep a private key in the place of whatever is there; after a crash it is the one or the other."""
        folder = self._folder / process
        beside = folder / f"{name}.new"
        try:
            beside.unlink(missing_ok=True)
            owner = folder.stat().st_uid
            self._write(beside, encode_private_key(key), mode=0o600, owner=owner, group=-1)
            beside.rename(self._find_path(process, name))
            sync_folder(folder)
        except OSError as error:
            raise UnavailableError(f"the key {error.filename} cannot be written: {error.strerror}") from error

    def erase_key(self, process: str, name: str) -> None:
        """Overwrite a private key and remove it. Raises UnavailableError.

        A disk that writes elsewhere on every write (an SSD, a file system that copies) keeps the old block a while.
        """
        path = self._find_path(process, name)
        try:
            with path.open("r+b", buffering=0) as file:
                file.write(bytes(path.stat().st_size))
                os.fsync(file.fileno())
            path.unlink()
            sync_folder(path.parent)
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be removed: {error.strerror}") from error

    def load_key(self, process: str, name: str) -> PrivateKey:
        """A private key of a process. Raises UnavailableError when this process may not read it."""
        path = self._find_path(process, name)
        try:
            return decode_private_key(path.read_bytes())
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be read: {error.strerror}") from error
        except InvalidInputError as error:
            raise UnavailableError(f"the key {path} is damaged: {error}") from error

    def keep_keys_of(self, process: str) -> None:
        """Let go of keys that are held open and that this process must not have."""
        if self._descriptors is None:
            return
        if process not in SEALING_PROCESSES:
            os.close(self._descriptors.sealing)
        if process != SIGN_IN_PROCESS:
            os.close(self._descriptors.sign_in)

    def seal(self, secret: bytes, *, context: str) -> bytes:
        """Encrypt a secret for the database. It opens only under the same context (table, column, row)."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher().encrypt(nonce, secret, context.encode())

    def unseal(self, sealed: bytes, *, context: str) -> bytes:
        """The secret of a sealed value. Raises UnavailableError when the key or the context is another one."""
        try:
            return self._cipher().decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:  # ValueError: cut off before the end of the nonce
            raise UnavailableError(
                f"the sealed value of {context} does not open: is keys/secrets.key another one?"
            ) from error

    def _find_path(self, process: str, name: str) -> Path:
        return self._folder / process / f"{name}.pem"

    def _cipher(self) -> AESGCM:
        derived = self._process == SIGN_IN_PROCESS and self._for_sign_in
        path = self._folder / self._process / (SIGN_IN_KEY if derived else _SEALING_KEY)
        try:
            if self._descriptors is None:
                key = path.read_bytes()
            else:
                descriptor = self._descriptors.sign_in if derived else self._descriptors.sealing
                key = os.pread(descriptor, SEALING_KEY_BYTES + 1, 0)
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be read: {error.strerror}") from error
        if len(key) != SEALING_KEY_BYTES:
            raise UnavailableError(f"the key {path} is damaged: it has {len(key)} bytes and not {SEALING_KEY_BYTES}")
        return AESGCM(derive_sign_in_key(key) if self._for_sign_in and not derived else key)

    @staticmethod
    def _write(path: Path, data: bytes, *, mode: int, owner: int, group: int) -> None:
        """All of it or nothing: half a key would be taken for the key, and never written again."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        except FileExistsError:
            raise InvalidInputError(f"{path} exists already") from None
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchown(descriptor, owner, group)
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error


def derive_sign_in_key(sealing_key: bytes) -> bytes:
    """The key of what sign-ins are checked with (RFC 5869). Nobody finds the sealing key from it."""
    info = b"evertunnel sign-in key"
    return HKDF(hashes.SHA256(), SEALING_KEY_BYTES, salt=None, info=info).derive(sealing_key)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in a folder is so after a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_key_files(folder: Path) -> dict[str, bytes]:
    """Every key below a keys folder, or a copy of one, with its place there. Raises UnavailableError."""
    found = {}
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".new":
                found[str(path.relative_to(folder))] = path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"the key {error.filename} cannot be read: {error.strerror}") from error
    return found
