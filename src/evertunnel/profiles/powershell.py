"""Values of a profile in PowerShell: always data, never code.

Windows PowerShell 5.1 reads a script without byte order mark in the machine's ANSI code page, where bytes of UTF-8 turn
into typographic quotes, which end its strings. What is written here is ASCII therefore, and a profile's values travel
as one base64 string of UTF-8 JSON in a script whose other text is the same for every profile.

From documentation only: never run on Windows. There is no PowerShell to check with where this is built; the tests
parse every script with tree-sitter-powershell, an independent grammar.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from evertunnel.errors import InvalidInputError

PLACE = "@PAYLOAD@"
_PAYLOAD = re.compile(r"^\$Payload = '([A-Za-z0-9+/=]*)'[ \t\r]*$", re.MULTILINE)
# PowerShell takes each of these as the single quote that ends a string (CharTraits: IsSingleQuote).
_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
# ConvertFrom-Json of Windows PowerShell 5.1 gives up at 2,097,152 characters.
_LONGEST_JSON = 2_000_000
_LONGEST_SCRIPT = 4_000_000


def quote_text(text: str) -> str:
    """A single-quoted string literal: nothing is expanded in it, and every kind of single quote is doubled.

    Raises InvalidInputError for control characters, which would break a line of script. A file that holds such a
    literal with more than ASCII in it has to begin with a byte order mark.
    """
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        raise InvalidInputError(f"{text[:100]!r} cannot be used: it holds control characters")
    return "'" + _QUOTES.sub(r"\1\1", text) + "'"


def build_payload(values: Mapping[str, Any]) -> str:
    """Base64 of the values as JSON in UTF-8. Raises InvalidInputError for more than PowerShell 5.1 can read."""
    text = json.dumps(values, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    if len(text) > _LONGEST_JSON:
        raise InvalidInputError(
            f"the profile is longer than {_LONGEST_JSON} characters, more than PowerShell 5.1 reads"
        )
    return base64.b64encode(text.encode()).decode()


def fill_script(template: str, values: Mapping[str, Any]) -> str:
    """The script with its payload in the one place for it."""
    before, place, after = template.partition(f"'{PLACE}'")
    assert place and PLACE not in after, "a script has one place for its payload"
    return before + quote_text(build_payload(values)) + after


def find_payload(text: str) -> str | None:
    """The payload of a script of ours as it stands there; None when there is none, or more than one."""
    found = _PAYLOAD.findall(text) if len(text) <= _LONGEST_SCRIPT else []
    return found[0] if len(found) == 1 else None


def read_payload(text: str, kind: str) -> dict[str, Any]:
    """The values in a script of ours. Raises InvalidInputError for another script, or one that was spoiled."""
    payload = find_payload(text)
    if payload is None:
        raise InvalidInputError("the script has no line $Payload = '...', or more than one: it is none of Evertunnel's")
    try:
        values = json.loads(base64.b64decode(payload, validate=True).decode())
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidInputError("the payload of the script cannot be read: it was changed or cut") from None
    if not isinstance(values, dict) or values.get("kind") != kind:
        raise InvalidInputError(f"the script is not the one that was looked for ({kind})")
    return values


def is_changed(text: str, template: str) -> bool:
    """Whether a script of ours says anything else than ours does, but for its payload and white space at line ends."""
    payload = find_payload(text)
    if payload is None:
        return True
    ours = template.replace(PLACE, payload)
    return [line.rstrip() for line in text.lstrip("\ufeff").rstrip().splitlines()] != [
        line.rstrip() for line in ours.rstrip().splitlines()
    ]
