"""Where an installation keeps its files, and who may read them."""

import fcntl
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from evertunnel.errors import InvalidInputError
from evertunnel.keystore import Keystore
from evertunnel.privileges import give

DEFAULT = Path("/var/lib/evertunnel")


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths below one folder."""

    path: Path

    @property
    def database_url(self) -> str:
        """The default database."""
        return f"sqlite:///{self.path / 'data' / 'evertunnel.db'}"

    @property
    def keystore(self) -> Keystore:
        """The keys folder."""
        return Keystore(self.path)

    @property
    def admin_socket(self) -> Path:
        """Where the admin API listens."""
        return self.path / "run" / "admin.sock"

    @property
    def signer_socket(self) -> Path:
        """Where the signer listens."""
        return self.path / "run" / "signer.sock"

    def gateway_folder(self, gateway_name: str) -> Path:
        """Files we write for one gateway."""
        return self.path / "gateways" / gateway_name

    def verify_empty(self) -> None:
        """Raise InvalidInputError when there is something in the folder, or it is none."""
        try:
            if self.path.exists() and any(self.path.iterdir()):
                raise InvalidInputError(f"{self.path} is not empty: give --state a new or empty folder")
        except OSError as error:
            raise InvalidInputError(f"{self.path} cannot be used: {error.strerror}") from error

    def verify_reachable(self) -> None:
        """Raise InvalidInputError when processes that gave up root could not come here."""
        for folder in self.path.parents:
            if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
                raise InvalidInputError(
                    f"the processes' users may not enter {folder}: choose another folder with --state, or chmod o+x it"
                )

    def create(self, *, group: int, gateway_owner: int) -> None:
        """Make the folders. Raises InvalidInputError when there is no right or no room to."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            os.chown(self.path, -1, group)
            self.path.chmod(0o755)
            # The set-group-id bit makes SQLite's side files readable for all our processes, whoever creates them.
            for name, mode in (("data", 0o2770), ("run", 0o755), ("gateways", 0o750)):
                folder = self.path / name
                folder.mkdir()
                os.chown(folder, -1, group)
                folder.chmod(mode)
            self.open_to_strongswan(gateway_owner=gateway_owner)
        except OSError as error:
            raise InvalidInputError(f"cannot make the state folder: {error.filename}: {error.strerror}") from error

    def open_to_strongswan(self, *, gateway_owner: int) -> None:
        """Let the gateway process write what strongSwan reads: that gives up root's right to read anything.

        It keeps user and group 0, so the group is what lets it in (docs/decisions/0016). Raises OSError.
        """
        if os.geteuid() != 0:
            return  # then it cannot be told anything either
        top = self.path / "gateways"
        for folder in (top, *(child for child in top.iterdir() if child.is_dir() and not child.is_symlink())):
            give(folder, user_id=gateway_owner, group_id=0, mode=0o2750)
            if (fragment := folder / "strongswan.conf").is_file():
                give(fragment, user_id=gateway_owner, group_id=0, mode=0o640)

    def give_database(self, *, group: int) -> None:
        """Let all our processes use the database that was made here. Raises OSError."""
        for path in (self.path / "data").iterdir():
            os.chown(path, -1, group)
            path.chmod(0o660)

    def remove(self, *, keep: bool) -> None:
        """Take back what was made; with `keep` the folder itself was there before and stays."""
        if not self.path.is_dir():
            return
        for child in self.path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child, ignore_errors=True)
            else:
                child.unlink(missing_ok=True)
        if not keep:
            self.path.rmdir()

    def lock(self) -> int:
        """Hold the folder for one `serve`. Raises InvalidInputError when another one runs. Returns the descriptor."""
        path = self.path / "run" / "serve.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InvalidInputError(f"another `evertunnel serve` runs on {self.path}") from None
        return descriptor
