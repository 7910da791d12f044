"""A device filter rule as tokens, each with its column. One pass, one character ahead: linear in the rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from evertunnel.access.documents import PolicyError

_SHOWN_LENGTH = 40
_QUOTES = "\"'"
# A word processor makes a dash of the hyphen, and Microsoft's own samples hold it.
_HYPHENS = "-\N{EN DASH}"
_HINTS = {
    "\\": 'write " alone: the backslash before it belongs to JSON, not to the rule',
    **dict.fromkeys("“”„‘’‚", "write straight quotes"),
    "=": "write -eq or -ne",
    "!": "write -ne or -not",
    "$": "write null, true or false without $",
    "&": "write -and",
    "|": "write -or",
    "`": "a backtick stands before a quote inside a quoted text only",
}


class TokenKind(Enum):
    """What a token is. The value is how a message calls it."""

    WORD = "a word"
    TEXT = "a quoted text"
    OPEN = "("
    CLOSE = ")"
    OPEN_LIST = "["
    CLOSE_LIST = "]"
    COMMA = ","
    END = "the end of the rule"


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is a word without its hyphen, or a text without its quotes and escapes. `column` counts from 1."""

    kind: TokenKind
    text: str
    column: int
    hyphen: bool = False


_SIGNS = {
    kind.value: kind
    for kind in (TokenKind.OPEN, TokenKind.CLOSE, TokenKind.OPEN_LIST, TokenKind.CLOSE_LIST, TokenKind.COMMA)
}


def list_tokens(rule: str, path: str) -> Iterator[Token]:
    """The tokens one by one, END last. Lazy, so that the first mistake is the one reported. Raises PolicyError."""
    index = 0
    while index < len(rule):
        character = rule[index]
        if character.isspace():
            index += 1
            continue
        column = index + 1
        if character in _SIGNS:
            yield Token(_SIGNS[character], character, column)
            index += 1
        elif character in _QUOTES:
            text, index = _read_quoted(rule, index, path)
            yield Token(TokenKind.TEXT, text, column)
        else:
            hyphen = character in _HYPHENS
            start = index + hyphen
            index = start
            while index < len(rule) and _is_of_word(rule[index]):
                index += 1
            if index == start:
                _refuse_character(path, rule, start, after_hyphen=hyphen)
            yield Token(TokenKind.WORD, rule[start:index], column, hyphen)
    yield Token(TokenKind.END, "", len(rule) + 1)


def refuse(path: str, column: int, problem: str) -> NoReturn:
    """Raise PolicyError for what stands at a column of the rule, counted from 1."""
    raise PolicyError(path, f"column {column}: {problem}")


def describe(token: Token) -> str:
    """A token as a message shows it: short, and with nothing that moves a cursor or turns a line around."""
    if token.kind is TokenKind.TEXT:
        return f"the text {shorten(token.text)}"
    if token.kind is TokenKind.WORD:
        return shorten(f"-{token.text}" if token.hyphen else token.text)
    return token.kind.value if token.kind is TokenKind.END else repr(token.kind.value)


def shorten(text: str) -> str:
    """A text in quotes, escaped and cut: what is shown of a hostile rule is bounded."""
    return repr(text) if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]!r}..."


def _read_quoted(rule: str, start: int, path: str) -> tuple[str, int]:
    """The text that opens at `start`, and the index after its closing quote.

    In double quotes a backtick escapes a quote or itself; in single quotes a single quote is doubled.
    """
    quote = rule[start]
    characters = []
    index = start + 1
    while index < len(rule):
        character = rule[index]
        following = rule[index + 1 : index + 2]
        if quote == '"' and character == "`":
            if not following or following not in '"`':
                refuse(path, index + 1, 'expected " or ` after a backtick; a backtick itself is written ``')
            characters.append(following)
            index += 2
        elif character != quote:
            characters.append(character)
            index += 1
        elif quote == "'" and following == quote:
            characters.append(quote)
            index += 2
        else:
            return "".join(characters), index + 1
    refuse(path, start + 1, f"expected a closing {quote} for the text that opens here")


def _is_of_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "._")


def _refuse_character(path: str, rule: str, index: int, *, after_hyphen: bool) -> NoReturn:
    if after_hyphen:
        refuse(path, index, "expected a name right after the hyphen, such as -eq or -and")
    character = rule[index]
    hint = _HINTS.get(character, "write a word, a quoted text, or one of ( ) [ ] ,")
    refuse(path, index + 1, f"{character!r} means nothing in a rule; {hint}")
