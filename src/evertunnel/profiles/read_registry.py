"""Windows' .reg file, read: what it sets and deletes, in its order. Bounded, and strict about everything else."""

import re
from collections.abc import Iterator

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.registry import (
    HEADER,
    LONGEST_NAME,
    DeletedKey,
    DeletedValue,
    Operation,
    RegistryData,
    RegistryType,
    RegistryValue,
    is_control,
    verify_key,
)  # fmt: skip

_OLD_HEADER = "REGEDIT4"
_LONGEST_FILE = 4_000_000
_MOST_OPERATIONS = 20_000

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_ENTRY = re.compile(rf"(?:@|{_QUOTED})\s*=\s*(.*)", re.DOTALL)
_TEXT = re.compile(rf"{_QUOTED}\s*(?:;.*)?", re.DOTALL)
_DWORD = re.compile(r"dword:\s*([0-9a-f]{1,8})\s*(?:;.*)?", re.IGNORECASE)
_HEX = re.compile(r"hex(?:\(([0-9a-f]{1,8})\))?:([0-9a-f,\s]*)(?:;.*)?", re.IGNORECASE)
_PAIRS = re.compile(r"(?:[0-9a-f]{1,2}(?:,[0-9a-f]{1,2})*,?)?", re.IGNORECASE)
_OPEN_TEXT = re.compile(r'(?:@|"(?:[^"\\]|\\.)*")\s*=\s*"(?:[^"\\]|\\.)*', re.DOTALL)


def decode_reg_bytes(data: bytes) -> str:
    """The text of a file in UTF-16 with its mark, or in UTF-8. Raises InvalidInputError for others."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the file is not {encoding.removesuffix('-sig').upper()}: {error.reason}") from None


def decode_reg_file(text: str) -> list[Operation]:
    """What a file does, in its order. Raises InvalidInputError with the line for whatever is not the format."""
    if len(text) > _LONGEST_FILE:
        raise InvalidInputError(f"the file is longer than {_LONGEST_FILE} characters")
    lines = iter(enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), 1))
    _read_header(lines)
    operations: list[Operation] = []
    key = ""
    for number, line in lines:
        stripped = line.strip()
        if not stripped or stripped.startswith(";"):
            continue
        if stripped.startswith("["):
            key, deleted = _decode_key(stripped, number)
            if deleted:
                operations.append(DeletedKey(key, number))
                key = ""
        elif not key:
            raise InvalidInputError(f"line {number}: a value outside of a key: {stripped[:60]!r}")
        else:
            operations.append(decode_entry(_join_lines(stripped, line, number, lines), key, number))
        if len(operations) > _MOST_OPERATIONS:
            raise InvalidInputError(f"line {number}: more than {_MOST_OPERATIONS} keys and values")
    return operations


def decode_entry(text: str, key: str, line: int | None = None) -> RegistryValue | DeletedValue:
    """One entry of a key. Raises InvalidInputError with the line."""
    where = f"line {line}: " if line else ""
    entry = _ENTRY.fullmatch(text)
    if entry is None:
        raise InvalidInputError(f'{where}{text[:60]!r} is no value; needed: "name"=data')
    name = _unescape(entry[1] or "", where)
    if len(name) > LONGEST_NAME or any(map(is_control, name)):
        raise InvalidInputError(f"{where}the name {name[:60]!r} is too long or holds control characters")
    data = entry[2].strip()
    if data == "-":
        return DeletedValue(key, name, line)
    if quoted := _TEXT.fullmatch(data):
        return RegistryValue(key, name, RegistryType.SZ, _unescape(quoted[1], where), line)
    if number := _DWORD.fullmatch(data):
        return RegistryValue(key, name, RegistryType.DWORD, int(number[1], 16), line)
    if listed := _HEX.fullmatch(data):
        pairs = "".join(listed[2].split())
        if _PAIRS.fullmatch(pairs):
            kind = int(listed[1], 16) if listed[1] else RegistryType.BINARY
            raw = bytes(int(pair, 16) for pair in pairs.split(",") if pair)
            return RegistryValue(key, name, kind, _decode_data(kind, raw, where), line)
    raise InvalidInputError(f"{where}{data[:60]!r} is neither a quoted text nor dword: nor hex:")


def _read_header(lines: Iterator[tuple[int, str]]) -> None:
    for number, line in lines:
        if line.strip() == HEADER:
            return
        if line.strip() == _OLD_HEADER:
            raise InvalidInputError(f"line {number}: the old format REGEDIT4; export the key again with regedit")
        if line.strip():
            break
    raise InvalidInputError(f"this is no registry file: it does not begin with {HEADER!r}")


def _join_lines(stripped: str, line: str, number: int, lines: Iterator[tuple[int, str]]) -> str:
    """Bytes go on after a backslash at the end of a line; regedit writes line breaks in a text as they are."""
    parts = [stripped]
    if _OPEN_TEXT.fullmatch(line.lstrip()):
        parts = [line.lstrip()]
        for _, more in lines:
            parts.append(more)
            # Each line is looked at alone: the text so far holds no unescaped quote.
            if re.search(r'(?<!\\)(?:\\\\)*"', more):
                break
        return "\n".join(parts).rstrip()
    while parts[-1].endswith("\\"):
        parts[-1] = parts[-1][:-1]
        following = next(lines, None)
        if following is None:
            raise InvalidInputError(f"line {number}: the file ends in the middle of a value")
        parts.append(following[1].strip())
    return "".join(parts)


def _decode_key(stripped: str, line: int) -> tuple[str, bool]:
    inside, bracket, rest = stripped[1:].rpartition("]")
    if not bracket or rest.strip()[:1] not in ("", ";"):
        raise InvalidInputError(f"line {line}: the key {stripped[:60]!r} does not end with ]")
    key = inside.removeprefix("-")
    try:
        verify_key(key)
    except InvalidInputError as error:
        raise InvalidInputError(f"line {line}: {error}") from None
    return key, inside.startswith("-")


def _decode_data(kind: int, raw: bytes, where: str) -> RegistryData:
    try:
        match kind:
            case RegistryType.SZ | RegistryType.EXPAND_SZ:
                return raw.decode("utf-16-le").removesuffix("\0")
            case RegistryType.MULTI_SZ:
                # The list ends at the first empty text.
                items = raw.decode("utf-16-le").split("\0")
                return tuple(items[: items.index("")] if "" in items else items)
            case RegistryType.DWORD | RegistryType.QWORD:
                if len(raw) != (4 if kind == RegistryType.DWORD else 8):
                    raise InvalidInputError(f"{where}a number of {len(raw)} bytes")
                return int.from_bytes(raw, "little")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{where}the bytes are no UTF-16LE text") from None
    return raw


def _unescape(text: str, where: str) -> str:
    if wrong := re.search(r'\\[^"\\]', text.replace("\\\\", "")):
        raise InvalidInputError(f"{where}{wrong[0]!r} in a text; a backslash is written twice")
    return re.sub(r'\\(["\\])', r"\1", text)
