"""Keys on disk: which process may read which, and the key that seals secrets in the database.

keys/secrets.key       seals RADIUS secrets and gate paths; readable by our group, never in the database
keys/<process>/*.pem   private keys of one process, mode 0600, folder 0700, owned by that process's user
"""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.pki.keys import PrivateKey, decode_private_key, encode_private_key

_NONCE_BYTES = 12
_SEALING_KEY_BYTES = 32


class Keystore:
    """The keys folder of a state folder."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / "keys"

    def create(self, *, owners: dict[str, int], group: int) -> None:
        """Make the folders and the sealing key. `owners` maps each process to its user id."""
        self._folder.mkdir(mode=0o750)
        os.chown(self._folder, -1, group)
        for process, owner in owners.items():
            folder = self._folder / process
            folder.mkdir(mode=0o700)
            os.chown(folder, owner, -1)
        self._write(
            self._folder / "secrets.key", secrets.token_bytes(_SEALING_KEY_BYTES), mode=0o640, owner=-1, group=group
        )

    def store_key(self, process: str, name: str, key: PrivateKey) -> None:
        """Keep a private key for a process alone. An existing one is not overwritten: raises InvalidInputError."""
        folder = self._folder / process
        owner = folder.stat().st_uid
        self._write(folder / f"{name}.pem", encode_private_key(key), mode=0o600, owner=owner, group=-1)

    def remove_key(self, process: str, name: str) -> None:
        """Forget a private key of a process; one that is gone already is fine. Raises UnavailableError."""
        path = self._folder / process / f"{name}.pem"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be removed: {error.strerror}") from error

    def load_key(self, process: str, name: str) -> PrivateKey:
        """A private key of a process. Raises UnavailableError when this process may not read it."""
        path = self._folder / process / f"{name}.pem"
        try:
            return decode_private_key(path.read_bytes())
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be read: {error.strerror}") from error
        except InvalidInputError as error:
            raise UnavailableError(f"the key {path} is damaged: {error}") from error

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

    def _cipher(self) -> AESGCM:
        path = self._folder / "secrets.key"
        try:
            key = path.read_bytes()
        except OSError as error:
            raise UnavailableError(f"the key {path} cannot be read: {error.strerror}") from error
        if len(key) != _SEALING_KEY_BYTES:
            raise UnavailableError(f"the key {path} is damaged: it has {len(key)} bytes and not {_SEALING_KEY_BYTES}")
        return AESGCM(key)

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
