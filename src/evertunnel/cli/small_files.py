"""Reading files that administrators name: no more of one than it can hold, whatever it proves to be."""

from pathlib import Path

from evertunnel.cli.output import fail

# A certificate or request in PEM.
PEM_BYTES_AT_MOST = 64 * 1024


def read_small_file(path: Path, bytes_at_most: int) -> bytes:
    """The bytes of a file. Ends the command where it cannot be read or is larger: a device may have no end."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_at_most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        fail(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
    if len(data) > bytes_at_most:
        fail(f"{path} is larger than {_show_size(bytes_at_most)}")
    return data


def read_pem_file(path: Path) -> str:
    """A certificate or request as text. Ends the command as above."""
    try:
        return read_small_file(path, PEM_BYTES_AT_MOST).decode("ascii")
    except UnicodeDecodeError as error:
        fail(f"{path} cannot be read: {error}")


def is_file(path: Path) -> bool:
    """Whether there is a file of a name; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _show_size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
