"""Reading JSON that administrators bring: a file or a folder of files, in the encodings that Windows writes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evertunnel.cli.output import fail

_FILE_BYTES_AT_MOST = 4 * 1024 * 1024
_ALL_BYTES_AT_MOST = 16 * 1024 * 1024
_FILES_AT_MOST = 1000


def read_json_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Each file with its name, of a folder every *.json in it. Ends the command where one cannot be read."""
    found = [path for given in paths for path in _list_files(given)]
    if len(found) > _FILES_AT_MOST:
        fail(f"there are {len(found)} files: give at most {_FILES_AT_MOST} at once")
    if sum(path.stat().st_size for path in found if path.exists()) > _ALL_BYTES_AT_MOST:
        fail(f"the files together are larger than {_ALL_BYTES_AT_MOST >> 20} MiB")
    return [{"name": str(path), "data": read_json(path)} for path in found]


def read_json(path: Path) -> Any:
    """A JSON file in UTF-8 or UTF-16. Ends the command with file, line and column of what is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_AT_MOST + 1)
        if len(data) > _FILE_BYTES_AT_MOST:
            fail(f"{path} is larger than {_FILE_BYTES_AT_MOST >> 20} MiB")
        # Bytes, because PowerShell writes UTF-16 where others write UTF-8, and JSON shows which.
        return json.loads(data, object_pairs_hook=_refuse_twice)
    except json.JSONDecodeError as error:
        fail(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}")
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{path} cannot be read: it is neither UTF-8 nor UTF-16 ({error.reason})")
    except (ValueError, RecursionError) as error:
        fail(f"{path} cannot be read: {error}")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The second of two would count, and nobody would see it."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _value in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice[:80]!r} twice")
    return found


def _list_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(child for child in path.iterdir() if child.suffix.lower() == ".json" and child.is_file())
    if not found:
        fail(f"{path} holds no file whose name ends in .json")
    return found
