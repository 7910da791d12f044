"""Device filter rules: text to tree. Strategy: recursive descent, one token ahead, one function a production.

    rule       = or-expr
    or-expr    = and-expr { -or and-expr }
    and-expr   = not-expr { -and not-expr }
    not-expr   = [ -not ] primary
    primary    = "(" or-expr ")" | comparison
    comparison = device.property operator value
    value      = text | null | true | false | "[" text { "," text } "]"

Hyphens are optional and case never counts, in names as in words.
"""

from dataclasses import dataclass
from typing import NoReturn

from evertunnel.access.conditional.device_filter_properties import (
    EXTENSION_ATTRIBUTES,
    OF_DYNAMIC_GROUPS,
    PROPERTIES,
    Operator,
    Property,
    PropertyKind,
)
from evertunnel.access.conditional.device_filter_tokens import TokenKind, describe, list_tokens, refuse
from evertunnel.access.documents import read_text

# Entra's limit; its portal refuses what is longer.
MAXIMUM_LENGTH = 3072
# Ours: deeper than any rule written by hand, and far from the depth where Python itself gives up.
MAXIMUM_DEPTH = 32

_PREFIX = "device."
_PROPERTIES = {entry.name.lower(): entry for entry in PROPERTIES}
_NAMES = ", ".join(entry.name for entry in PROPERTIES if entry.name not in EXTENSION_ATTRIBUTES)
_NAMES += ", extensionAttribute1 to extensionAttribute15"
_OPERATORS = {operator.lower(): operator for operator in Operator}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`wanted` is None for null, a tuple for -in and -notIn, a bool for a boolean property, else a text."""

    property: Property
    operator: Operator
    wanted: str | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Negation:
    """True where `part` is not."""

    part: "Node"


@dataclass(frozen=True, slots=True)
class Conjunction:
    """True where all parts, two or more, are."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """True where one of the parts, two or more, is."""

    parts: tuple["Node", ...]


Node = Comparison | Negation | Conjunction | Disjunction


def parse_device_filter(rule: object, path: str) -> Node:
    """The tree of a rule. Raises PolicyError that names the column, counted from 1, and what was expected there."""
    text = read_text(rule, path)
    if len(text) > MAXIMUM_LENGTH:
        refuse(path, MAXIMUM_LENGTH + 1, f"the rule has {len(text)} characters; the limit is {MAXIMUM_LENGTH}")
    return _Parser(text, path).read_rule()


class _Parser:
    """The place in the tokens. `_token` is the one not yet taken."""

    def __init__(self, rule: str, path: str) -> None:
        self._path = path
        self._tokens = list_tokens(rule, path)
        self._token = next(self._tokens)
        self._depth = 0

    def read_rule(self) -> Node:
        node = self._read_disjunction()
        if not self._sees(TokenKind.END):
            self._refuse("-and, -or or the end of the rule")
        return node

    def _read_disjunction(self) -> Node:
        parts = [self._read_conjunction()]
        while self._takes_operator("or"):
            parts.append(self._read_conjunction())
        return parts[0] if len(parts) == 1 else Disjunction(tuple(parts))

    def _read_conjunction(self) -> Node:
        parts = [self._read_negation()]
        while self._takes_operator("and"):
            parts.append(self._read_negation())
        return parts[0] if len(parts) == 1 else Conjunction(tuple(parts))

    def _read_negation(self) -> Node:
        if self._takes_operator("not"):
            return Negation(self._read_primary("( or a property such as device.model after -not"))
        return self._read_primary("a property such as device.model, ( or -not")

    def _read_primary(self, expected: str) -> Node:
        opening = self._token
        if opening.kind is not TokenKind.OPEN:
            return self._read_comparison(expected)
        if self._depth == MAXIMUM_DEPTH:
            refuse(self._path, opening.column, f"expected at most {MAXIMUM_DEPTH} parentheses inside each other")
        self._depth += 1
        self._advance()
        node = self._read_disjunction()
        self._take(TokenKind.CLOSE, f"-and, -or or the ) for the ( at column {opening.column}")
        self._depth -= 1
        return node

    def _read_comparison(self, expected: str) -> Comparison:
        entry = self._read_property(expected)
        operator = self._read_operator(entry)
        if operator in (Operator.IN, Operator.NOT_IN):
            return Comparison(entry, operator, self._read_list(entry, operator))
        return Comparison(entry, operator, self._read_value(entry, operator))

    def _read_property(self, expected: str) -> Property:
        token = self._token
        name = token.text.lower()
        if token.kind is not TokenKind.WORD or token.hyphen or not name.startswith(_PREFIX):
            self._refuse(expected)
        entry = _PROPERTIES.get(name.removeprefix(_PREFIX))
        if entry is None:
            refuse(self._path, token.column, f"{describe(token)} is no property of device filters; known are {_NAMES}")
        self._advance()
        return entry

    def _read_operator(self, entry: Property) -> Operator:
        token = self._token
        name = token.text.lower() if token.kind is TokenKind.WORD else ""
        allowed = ", ".join(f"-{operator}" for operator in entry.operators)
        if name in OF_DYNAMIC_GROUPS:
            refuse(self._path, token.column, f"-{token.text} is for dynamic groups; {entry.name} allows {allowed}")
        operator = _OPERATORS.get(name)
        if operator is None or operator not in entry.operators:
            self._refuse(f"an operator that {entry.name} allows ({allowed})")
        self._advance()
        return operator

    def _read_value(self, entry: Property, operator: Operator) -> str | bool | None:
        takes_null = operator in (Operator.EQ, Operator.NE)
        if takes_null and self._takes_word("null"):
            return None
        if entry.kind is PropertyKind.BOOLEAN:
            if self._takes_word("true"):
                return True
            if self._takes_word("false"):
                return False
        text = self._read_text(entry, ", or null," if takes_null else "")
        return text.lower() == "true" if entry.kind is PropertyKind.BOOLEAN else text

    def _read_list(self, entry: Property, operator: Operator) -> tuple[str, ...]:
        self._take(TokenKind.OPEN_LIST, f'a list such as ["one", "two"] after -{operator}')
        texts = [self._read_text(entry)]
        while self._sees(TokenKind.COMMA):
            self._advance()
            texts.append(self._read_text(entry))
        self._take(TokenKind.CLOSE_LIST, "a comma or the ] of the list")
        return tuple(texts)

    def _read_text(self, entry: Property, alternative: str = "") -> str:
        token = self._token
        if token.kind is not TokenKind.TEXT or not entry.allows(token.text):
            self._refuse(f"{entry.describe_values()}{alternative} to compare {entry.name} with")
        self._advance()
        return token.text

    def _sees(self, kind: TokenKind) -> bool:
        return self._token.kind is kind

    def _advance(self) -> None:
        self._token = next(self._tokens)

    def _take(self, kind: TokenKind, expected: str) -> None:
        if not self._sees(kind):
            self._refuse(expected)
        self._advance()

    def _takes_operator(self, word: str) -> bool:
        """Take the next token if it is a logical operator, with or without its hyphen."""
        if self._token.kind is not TokenKind.WORD or self._token.text.lower() != word:
            return False
        self._advance()
        return True

    def _takes_word(self, word: str) -> bool:
        """Take the next token if it is a word that never has a hyphen."""
        return not self._token.hyphen and self._takes_operator(word)

    def _refuse(self, expected: str) -> NoReturn:
        refuse(self._path, self._token.column, f"expected {expected}, found {describe(self._token)}")
