"""Files that are there whole or not at all, for few eyes."""

import os
from pathlib import Path

from evertunnel.errors import UnavailableError

# strongSwan reads its configuration again without root's right to read anything: as group 0, which the folder hands on.
FRAGMENT_MODE = 0o640


def write_file(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file in one step; after a power cut it is the one or the other. Raises UnavailableError."""
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UnavailableError(f"cannot write {error.filename or path}: {error.strerror}") from error
