"""An independent reader of PowerShell: tree-sitter-powershell. PowerShell itself cannot be installed here."""

from collections.abc import Iterator

import tree_sitter
import tree_sitter_powershell

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
# What Windows PowerShell 5.1 does not know. The grammar itself refuses `??`, `?.` and the ternary.
LATER = {"pipeline_chain_tail"}


def walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def find_faults(script: str) -> list[str]:
    """What the grammar does not understand, and what is newer than 5.1."""
    root = PARSER.parse(script.encode()).root_node
    return [
        f"line {node.start_point.row + 1}: {node.type} {node.text[:60] if node.text else b''!r}"
        for node in walk(root)
        if node.is_error or node.is_missing or node.type in LATER
    ]


def list_string_literals(script: str) -> list[str]:
    """Every string literal, as it is written."""
    root = PARSER.parse(script.encode()).root_node
    return [(node.text or b"").decode() for node in walk(root) if node.type == "string_literal"]


def list_commands(script: str) -> set[str]:
    """The names of all commands that are called."""
    root = PARSER.parse(script.encode()).root_node
    return {(node.text or b"").decode() for node in walk(root) if node.type == "command_name"}
