"""VICI messages read quickly: ten thousand tunnels are listed in one answer, and a denial waits for it. Pure.

The `vici` package reads the same, several times slower. Source: strongSwan, src/libcharon/plugins/vici/README.md,
"Message encoding".
"""

from functools import lru_cache
from typing import Any

_SECTION_START, _SECTION_END, _KEY_VALUE, _LIST_START, _LIST_ITEM, _LIST_END = 1, 2, 3, 4, 5, 6


class ViciMessageError(Exception):
    """These bytes are no VICI message."""


@lru_cache(maxsize=256)
def _decode_name(name: bytes) -> str:
    return name.decode("utf-8", errors="replace")


def decode_message(data: bytes, start: int = 0, *, until: str = "") -> dict[str, Any]:
    """Sections as dicts, lists as lists, values as text in which what is not UTF-8 is replaced.

    With `until` the rest is left unread from where a section of that name begins. Raises ViciMessageError.
    """
    try:
        return _decode(data, start, until)
    except (IndexError, KeyError) as error:
        raise ViciMessageError("a VICI message ends too early") from error


def _decode(data: bytes, at: int, until: str) -> dict[str, Any]:
    section: dict[str, Any] = {}
    above: list[dict[str, Any]] = []
    end = len(data)
    while at < end:
        kind = data[at]
        at += 1
        if kind == _SECTION_END:
            if not above:
                raise ViciMessageError("a VICI section ends that never began")
            section = above.pop()
            continue
        value_at = at + 1 + data[at]
        if value_at > end:
            raise ViciMessageError("a VICI message ends within a name")
        name = _decode_name(data[at + 1 : value_at])
        if kind == _KEY_VALUE:
            at = value_at + 2 + (data[value_at] << 8 | data[value_at + 1])
            section[name] = str(data[value_at + 2 : at], "utf-8", "replace")
        elif kind == _SECTION_START:
            if until and name == until:
                return above[0] if above else section
            above.append(section)
            section[name] = section = {}
            at = value_at
        elif kind == _LIST_START:
            section[name], at = _decode_list(data, value_at)
        else:
            raise ViciMessageError(f"{kind} begins nothing in a VICI message")
        if at > end:
            raise ViciMessageError("a VICI message ends within a value")
    if above:
        raise ViciMessageError("a VICI section does not end")
    return section


def _decode_list(data: bytes, at: int) -> tuple[list[str], int]:
    items: list[str] = []
    while data[at] == _LIST_ITEM:
        until = at + 3 + (data[at + 1] << 8 | data[at + 2])
        items.append(str(data[at + 3 : until], "utf-8", "replace"))
        at = until
    if data[at] != _LIST_END:
        raise ViciMessageError("a VICI list does not end")
    return items, at + 1
