"""Reading JSON that administrators bring: a file or a folder of files, in the encodings that Windows writes."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.output import fail
from evertunnel.cli.small_files import is_file, read_small_file

_FILE_BYTES_AT_MOST = 4 * 1024 * 1024
_ALL_BYTES_AT_MOST = 16 * 1024 * 1024
_FILES_AT_MOST = 1000

MAP = Annotated[
    Path | None, typer.Option("--map", help="JSON object: object id in the files -> what it is called here.")
]


def read_json_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Each file with its name, of a folder every *.json in it. Ends the command where one cannot be read."""
    found = [path for given in paths for path in _list_files(given)]
    if len(found) > _FILES_AT_MOST:
        fail(f"there are {len(found)} files: give at most {_FILES_AT_MOST} at once")
    if sum(path.stat().st_size for path in found if is_file(path)) > _ALL_BYTES_AT_MOST:
        fail(f"the files together are larger than {_ALL_BYTES_AT_MOST >> 20} MiB")
    return [{"name": str(path), "data": read_json(path)} for path in found]


def read_json(path: Path) -> Any:
    """A JSON file in UTF-8 or UTF-16. Ends the command with file, line and column of what is wrong."""
    data = read_small_file(path, _FILE_BYTES_AT_MOST)
    try:
        # Bytes, because PowerShell writes UTF-16 where others write UTF-8, and JSON shows which.
        found = json.loads(data, object_pairs_hook=_refuse_twice)
        _verify_sendable(found)
        return found
    except json.JSONDecodeError as error:
        fail(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}")
    except UnicodeDecodeError as error:
        fail(f"{path} cannot be read: it is neither UTF-8 nor UTF-16 ({error.reason})")
    except (ValueError, RecursionError) as error:
        fail(f"{path} cannot be read: {error}")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The second of two would count, and nobody would see it."""
    found = dict(pairs)
    if len(found) != len(pairs):
        times = Counter(key for key, _value in pairs)
        twice = next(key for key in times if times[key] > 1)
        raise ValueError(f"an object has the key {twice[:80]!r} twice")
    return found


def _verify_sendable(value: Any) -> None:
    """Raise ValueError for what Python reads and nobody can send: no number, or no character."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair, which is no character") from None
    except ValueError:
        raise ValueError("it holds NaN, Infinity, or a number too large for any") from None


def _list_files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        found = sorted(child for child in path.iterdir() if child.suffix.lower() == ".json" and child.is_file())
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    if not found:
        fail(f"{path} holds no file whose name ends in .json")
    return found


def read_map(path: Path | None) -> dict[str, str]:
    """What ids of another directory are called here; none without a file. Ends the command where it is no such map."""
    mapping = {} if path is None else read_json(path)
    if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
        fail(f'{path}: must be a JSON object from ids to names, such as {{"0f...": "Sales"}}')
    return mapping
