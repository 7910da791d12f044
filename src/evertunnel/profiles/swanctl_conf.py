"""strongSwan's configuration syntax: sections, keys and values; every value is written in quotes and so stays one."""

from dataclasses import dataclass, field

from evertunnel.errors import InvalidInputError

_LARGEST = 1_048_576
_DEEPEST = 12
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_ENDS_NAME = frozenset(' \t\r\n={}#"')


@dataclass(slots=True)
class Section:
    """Settings and sections by name, in the order they were written; `line` is where it begins."""

    settings: dict[str, str] = field(default_factory=dict)
    sections: dict[str, "Section"] = field(default_factory=dict)
    line: int = 0

    def set(self, name: str, value: str) -> None:
        """Give a setting a value; an empty one is left out."""
        if value:
            self.settings[name] = value

    def get(self, name: str) -> str:
        """A setting, empty when there is none."""
        return self.settings.get(name, "")


def encode_conf(section: Section, *, margin: str = "") -> str:
    """The text. Names of settings and sections are of our making; values may be anything but control characters."""
    lines = []
    for name, value in section.settings.items():
        lines.append(f"{margin}{name} = {_quote(value)}\n")
    for name, inner in section.sections.items():
        lines.append(f"{margin}{name} {{\n{encode_conf(inner, margin=margin + '  ')}{margin}}}\n")
    return "".join(lines)


def _quote(value: str) -> str:
    if any(ord(character) < 32 for character in value):
        raise InvalidInputError(f"{value[:60]!r} holds a control character, which cannot stand in swanctl.conf")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def decode_conf(text: str) -> Section:
    """The sections of a file without includes. Raises InvalidInputError with the line."""
    if len(text) > _LARGEST:
        raise InvalidInputError(f"the file is larger than {_LARGEST} characters")
    return _Parser(text).read()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def read(self) -> Section:
        root = Section(line=1)
        stack = [root]
        while self._skip_blank():
            if self._text[self._at] == "}":
                self._step()
                stack.pop()
                if not stack:
                    self._fail("a closing brace without an opening one")
                continue
            name = self._read_name()
            self._skip_blank()
            sign = self._text[self._at] if self._at < len(self._text) else ""
            if name == "include":
                self._fail("include is not followed: give one file that holds everything")
            if sign == "{":
                self._step()
                if len(stack) > _DEEPEST:
                    self._fail("the sections are nested too deep")
                stack.append(stack[-1].sections.setdefault(name, Section(line=self._line)))
            elif sign == "=":
                self._step()
                stack[-1].settings[name] = self._read_value()
            else:
                self._fail(f"after {name[:40]!r} there must be = or an opening brace")
        if len(stack) > 1:
            self._fail("a section is not closed")
        return root

    def _step(self) -> None:
        if self._text[self._at] == "\n":
            self._line += 1
        self._at += 1

    def _skip_blank(self) -> bool:
        while self._at < len(self._text):
            if self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif self._text[self._at] in " \t\r\n\ufeff":
                self._step()
            else:
                return True
        return False

    def _read_name(self) -> str:
        begin = self._at
        while self._at < len(self._text) and self._text[self._at] not in _ENDS_NAME:
            self._at += 1
        if begin == self._at:
            self._fail(f"{self._text[begin]!r} where a name must stand")
        return self._text[begin : self._at]

    def _read_value(self) -> str:
        while self._at < len(self._text) and self._text[self._at] in " \t":
            self._at += 1
        if self._at < len(self._text) and self._text[self._at] == '"':
            return self._read_quoted()
        begin = self._at
        while self._at < len(self._text) and self._text[self._at] not in "\n#}":
            self._at += 1
        return self._text[begin : self._at].strip()

    def _read_quoted(self) -> str:
        self._at += 1
        parts: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return "".join(parts)
            if character == "\\" and self._at + 1 < len(self._text):
                self._at += 1
                following = self._text[self._at]
                parts.append(_ESCAPES.get(following, following))
            else:
                parts.append(character)
            self._step()
        return self._fail("a quote is not closed")

    def _fail(self, problem: str) -> str:
        raise InvalidInputError(f"line {self._line}: {problem}")
