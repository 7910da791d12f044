"""The commands of the program as its command line declares them, for tests that hold texts against them."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from evertunnel.cli.app import app

ROOT: Any = typer.main.get_command(app)


def walk(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of commands with the words that lead to it; the program itself has none."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


def list_leaves() -> list[tuple[tuple[str, ...], Any]]:
    """Commands that do something, without the groups."""
    return [(path, command) for path, command in walk() if not getattr(command, "commands", {})]


def find_problem(line: str) -> str:
    """Why a command line quoted somewhere would not be understood; empty when it would. Arguments may be missing."""
    words = shlex.split(line)
    command = ROOT
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if getattr(command, "commands", {}):
        return f"{line!r}: {words[0] if words else 'nothing'} is no command of it"
    try:
        command.make_context("evertunnel", words)
    except Exception as error:
        name = type(error).__name__
        return "" if name == "MissingParameter" else f"{line!r}: {name}: {error}"
    return ""


def find_commands(text: str) -> list[str]:
    """Command lines quoted in running text: what follows the program's name, up to a word that is none of it."""
    found = []
    for match in re.finditer(r"evertunnel ((?:[a-z-]+ ?|--[a-z-]+ ?|[A-Z]+ ?)+)", text):
        words = match[1].split()
        command = ROOT
        taken = []
        for word in words:
            inner = getattr(command, "commands", {})
            if inner and word not in inner:
                break
            if inner:
                command = inner[word]
            elif not (word.startswith("--") or word.isupper() or word in ("yes", "no", "on", "off")):
                break
            taken.append(word)
        found.append(" ".join(taken or words[:1]))
    return found
