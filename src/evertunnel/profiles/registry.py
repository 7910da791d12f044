"""Values of the Windows registry as data, and the .reg file, "Windows Registry Editor Version 5.00".

Strings are quoted with `\\` before a backslash or a quote; what that cannot carry (line breaks, other types) is written
as UTF-16LE bytes. Keys and names are compared without regard to case, as Windows does. From documentation only; the
output is also checked by an independent reader, hivex.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from evertunnel.errors import InvalidInputError

HEADER = "Windows Registry Editor Version 5.00"
_LONGEST_KEY = 1_024
_DEEPEST_KEY = 32
LONGEST_NAME = 16_383
_WIDTH = 78


class RegistryType(IntEnum):
    """Types of values, by Windows' number. Others are carried as bytes under their number."""

    SZ = 1
    EXPAND_SZ = 2
    BINARY = 3
    DWORD = 4
    MULTI_SZ = 7
    QWORD = 11


RegistryData = str | int | bytes | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegistryValue:
    """A value; name "" is the key's default value. Text for SZ and EXPAND_SZ, numbers without sign, else bytes."""

    key: str
    name: str
    type: int
    data: RegistryData
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DeletedValue:
    """`"name"=-`: the value is removed."""

    key: str
    name: str
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DeletedKey:
    """`[-KEY]`: the key is removed with everything below it."""

    key: str
    line: int | None = field(default=None, compare=False)


Operation = RegistryValue | DeletedValue | DeletedKey


def encode_reg_file(operations: Iterable[Operation], *, comment: str = "") -> str:
    """The file's text with line feeds. Raises InvalidInputError for names that the format cannot carry."""
    lines = [HEADER, ""]
    # A comment ends with its line, so a control character in it could begin a setting.
    lines += [f"; {''.join(map(_neutralize, line))}".rstrip() for line in comment.splitlines()]
    current = ""
    for operation in operations:
        verify_key(operation.key)
        if isinstance(operation, DeletedKey):
            lines += ["", f"[-{operation.key}]"]
            current = ""
            continue
        if operation.key != current:
            current = operation.key
            lines += ["", f"[{current}]"]
        if isinstance(operation, DeletedValue):
            lines.append(f"{_encode_name(operation.name)}=-")
        else:
            lines.append(encode_entry(operation))
    return "\n".join([*lines, "", ""])


def encode_reg_bytes(text: str) -> bytes:
    """The file as regedit writes it: UTF-16LE with its mark, lines ending in CR LF."""
    return b"\xff\xfe" + text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-16-le")


def encode_entry(value: RegistryValue) -> str:
    """The entry `"name"=data`, in one line or in several that end in a backslash."""
    name, data = _encode_name(value.name), value.data
    match value.type, data:
        case RegistryType.SZ, str() if not any(map(is_control, data)):
            return f'{name}="{_escape(data)}"'
        case ((RegistryType.SZ | RegistryType.EXPAND_SZ), str()):
            raw = _encode_text(data)
        case RegistryType.DWORD, int() if 0 <= data < 2**32:
            return f"{name}=dword:{data:08x}"
        case RegistryType.QWORD, int() if 0 <= data < 2**64:
            raw = data.to_bytes(8, "little")
        case RegistryType.MULTI_SZ, tuple() if all(data) and not any("\0" in item for item in data):
            raw = b"".join(map(_encode_text, data)) + b"\0\0"
        case _, bytes():
            raw = data
        case _:
            raise InvalidInputError(f"{value.key}\\{value.name}: {data!r:.80} is no data of type {value.type}")
    kind = "hex:" if value.type == RegistryType.BINARY else f"hex({value.type:x}):"
    return _wrap(f"{name}={kind}", [f"{byte:02x}" for byte in raw])


def verify_key(key: str) -> None:
    """Raise InvalidInputError unless it is a path of keys."""
    parts = key.split("\\")
    if (
        len(key) > _LONGEST_KEY
        or not 0 < len(parts) <= _DEEPEST_KEY
        or not all(0 < len(part) <= 255 for part in parts)
        or any(map(is_control, key))
        or key.startswith("-")
        or key != key.strip()
    ):
        raise InvalidInputError(f"{key[:100]!r} cannot be a registry key")


def _encode_name(name: str) -> str:
    if len(name) > LONGEST_NAME or any(map(is_control, name)):
        raise InvalidInputError(
            f"{name[:100]!r} cannot be a registry value's name: no control characters, no line breaks"
        )
    return f'"{_escape(name)}"' if name else "@"


def _encode_text(text: str) -> bytes:
    try:
        return (text + "\0").encode("utf-16-le")
    except UnicodeEncodeError:
        raise InvalidInputError(f"{text[:60]!r} is no valid Unicode") from None


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def is_control(character: str) -> bool:
    """Whether a character can end a line or has no place in a file."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _neutralize(character: str) -> str:
    return "?" if is_control(character) else character


def _wrap(start: str, pairs: list[str]) -> str:
    lines, current = [], start
    for index, pair in enumerate(pairs):
        piece = pair + ("," if index + 1 < len(pairs) else "")
        if len(current) + len(piece) > _WIDTH and current.strip() and current != start:
            lines.append(current + "\\")
            current = "  "
        current += piece
    return "\n".join([*lines, current])
