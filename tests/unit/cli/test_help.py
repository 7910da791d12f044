"""Every command explains itself: help with an example that is a real call of it, JSON where it lists or shows."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from evertunnel import actions
from evertunnel.cli.app import app

ROOT: Any = typer.main.get_command(app)
LISTS_OR_SHOWS = {"list", "show", "verify", "status", "authorities"}


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


COMMANDS = dict(walk(ROOT))
LEAVES = {path: command for path, command in COMMANDS.items() if not hasattr(command, "commands")}


def test_the_walk_finds_them_all() -> None:
    assert len(LEAVES) > 40


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_says_what_it_does_and_gives_an_example(path: tuple[str, ...]) -> None:
    text = COMMANDS[path].help or ""
    assert text.split("\n")[0].rstrip().endswith("."), "a sentence first"
    if path in LEAVES:
        assert "Example: evertunnel " + " ".join(path) in " ".join(text.split())


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_example_is_understood_by_its_own_command(path: tuple[str, ...]) -> None:
    text = " ".join((LEAVES[path].help or "").replace("\\\n", "").split())
    words = shlex.split(text.partition("Example: evertunnel ")[2])[len(path) :]
    LEAVES[path].make_context(path[-1], words, resilient_parsing=False)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_is_explained_and_lists_give_json(path: tuple[str, ...]) -> None:
    options = {option.opts[0]: option for option in LEAVES[path].params}
    if path[-1] in LISTS_OR_SHOWS:
        assert "--json" in options
    for name, option in options.items():
        if option.param_type_name == "option" and name != "--help":
            assert option.help, f"{name} has no explanation"


def test_every_option_that_a_refusal_names_is_one_of_a_command() -> None:
    parameters = [each for command in LEAVES.values() for each in command.params]
    known = {name for each in parameters for name in (*each.opts, *each.secondary_opts)}
    named: dict[str, str] = {}
    for path in Path(actions.__file__).parent.glob("*.py"):
        named |= dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")), path.name)
    assert len(named) > 20
    assert {name: where for name, where in named.items() if name not in known} == {}
