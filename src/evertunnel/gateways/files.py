"""Files that are there whole or not at all, for one user's eyes."""

import os
from pathlib import Path

from evertunnel.errors import UnavailableError


def write_file(path: Path, text: str) -> None:
    """Replace a file in one step, mode 0600; after a power cut it is the one or the other. Raises UnavailableError."""
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
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
