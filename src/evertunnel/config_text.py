"""Change single settings in the text of evertunnel.toml and leave everything else, comments too. Text in, text out."""

import json
import re
from collections.abc import Mapping

_SECTION = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]\s*(#.*)?")


def set_settings(text: str, section: str, values: Mapping[str, str]) -> str:
    """The text with these settings in a section, which is added when there is none."""
    lines = _remove(text, section, set(values))
    added = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    for number, line in enumerate(lines):
        if (match := _SECTION.fullmatch(line)) and match[1] == section:
            lines[number + 1 : number + 1] = added
            break
    else:
        lines += ["", f"[{section}]", *added]
    return "\n".join(lines) + "\n"


def remove_setting(text: str, name: str) -> str:
    """The text without a setting that stands above all sections."""
    return "\n".join(_remove(text, "", {name})) + "\n"


def _remove(text: str, section: str, names: set[str]) -> list[str]:
    here, kept = "", []
    for line in text.splitlines():
        if match := _SECTION.fullmatch(line):
            here = match[1]
        elif here == section and line.partition("=")[0].strip().strip("\"'") in names and "=" in line:
            continue
        kept.append(line)
    return kept
