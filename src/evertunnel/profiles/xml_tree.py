"""XML as a small tree: read safely with lines, written as Windows wants it.

Read: no DTD, no entities of its own, bounded size, depth and number of elements; comments and processing instructions
are dropped. Written: a default namespace where it changes, no prefixes, no declaration, ASCII only through references.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from evertunnel.errors import InvalidInputError

_LARGEST_BYTES = 1_048_576
_DEEPEST = 40
_MOST_ELEMENTS = 20_000


@dataclass(slots=True)
class Node:
    """An element. `namespace` empty for none; `text` is all its character data, outer white space cut.

    `line` is where it begins, `text_line` where its text does if it has no children.
    """

    name: str
    text: str = ""
    children: list["Node"] = field(default_factory=list)
    namespace: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    line: int | None = None
    text_line: int | None = None

    def find(self, name: str) -> "Node | None":
        """The first child of that name, whatever its case and namespace."""
        wanted = name.lower()
        return next((child for child in self.children if child.name.lower() == wanted), None)

    def find_all(self, name: str) -> Iterator["Node"]:
        """Children of that name, whatever their case and namespace."""
        wanted = name.lower()
        return (child for child in self.children if child.name.lower() == wanted)

    def add(self, name: str, text: str = "", *, namespace: str | None = None) -> "Node":
        """Append a child, in the same namespace unless said otherwise, and return it."""
        child = Node(name, text, namespace=self.namespace if namespace is None else namespace)
        self.children.append(child)
        return child


def parse_xml(text: str, *, first_line: int = 1) -> Node:
    """The root element. Raises InvalidInputError with line and column, counted from `first_line`."""
    if len(text) > _LARGEST_BYTES:
        raise InvalidInputError(f"the XML is larger than {_LARGEST_BYTES} bytes")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("the text holds half of a surrogate pair, which is no character") from None
    reader = _Reader(first_line - 1)
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        reason = expat.errors.messages[error.code]
        lines = text.splitlines()
        line = lines[error.lineno - 1] if 0 < error.lineno <= len(lines) else ""
        mend = "; an ampersand is written &amp;" if "&" in line[: error.offset + 1] else ""
        raise InvalidInputError(
            f"line {error.lineno + first_line - 1}, column {error.offset + 1}: no well-formed XML: {reason}{mend}"
        ) from None
    assert reader.root is not None
    return reader.root


class _Reader:
    def __init__(self, lines_before: int) -> None:
        self.root: Node | None = None
        self._lines_before = lines_before
        self._open: list[Node] = []
        self._texts: list[list[str]] = []
        self._elements = 0
        # The text was decoded before: what a declaration says of its encoding is about bytes that are gone.
        self.parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        # Without declarations there are no external entities; expat fetches none without a handler anyway.

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        line = self.parser.CurrentLineNumber + self._lines_before
        if len(self._open) >= _DEEPEST or self._elements > _MOST_ELEMENTS:
            raise InvalidInputError(f"line {line}: the XML is too deep or has too many elements")
        namespace, _, local = name.rpartition(" ")
        local_attributes = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        node = Node(local, namespace=namespace, attributes=local_attributes, line=line)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)
        self._texts.append([])

    def _end(self, _name: str) -> None:
        node, text = self._open.pop(), "".join(self._texts.pop())
        node.text = text.strip()
        node.text_line = (node.line or 1) + text[: len(text) - len(text.lstrip())].count("\n")

    def _data(self, data: str) -> None:
        self._texts[-1].append(data)

    def _refuse(self, *_arguments: object) -> None:
        line = self.parser.CurrentLineNumber + self._lines_before
        raise InvalidInputError(f"line {line}: a document type or entity declaration is not accepted; remove it")


def render_xml(root: Node, *, indent: str = "  ", comment: str = "") -> str:
    """The text, one element a line; with an empty `indent` everything stands on one line."""
    lines: list[str] = [f"<!-- {comment.replace('--', '- -')} -->"] if comment else []
    _render(root, "", "", indent, lines)
    return ("\n" if indent else "").join(lines) + ("\n" if indent else "")


def _render(node: Node, inherited: str, margin: str, indent: str, lines: list[str]) -> None:
    head = node.name
    if node.namespace != inherited:
        head += f" xmlns={_to_ascii(quoteattr(node.namespace))}"
    for name, value in node.attributes.items():
        head += f" {name}={_to_ascii(quoteattr(value))}"
    if node.children:
        lines.append(f"{margin}<{head}>")
        if node.text:
            lines.append(_escape(node.text))
        for child in node.children:
            _render(child, node.namespace, margin + indent, indent, lines)
        lines.append(f"{margin}</{node.name}>")
    elif node.text:
        lines.append(f"{margin}<{head}>{_escape(node.text)}</{node.name}>")
    else:
        lines.append(f"{margin}<{head}></{node.name}>")


def _escape(text: str) -> str:
    """Escaped for element content, in ASCII: what lies between us and Windows may know no more."""
    return _to_ascii(escape(text))


def _to_ascii(markup: str) -> str:
    return markup.encode("ascii", "xmlcharrefreplace").decode()
