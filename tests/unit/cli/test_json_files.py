"""JSON that administrators bring: whatever is wrong with a file is one line, by every command that reads one."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evertunnel.cli.app import app
from evertunnel.cli.policy_access import _choose_file_name

COMMANDS = {
    "what-if": "policy what-if --graph {}",
    "replay": "policy access replay {}",
    "import": "policy access import {}",
    "map": "policy access import --map {} nothing.json",
    "locations": "policy location import {}",
    "tests": "policy test import {}",
}
WRONG = {
    "twice": (b'{"state": "enabled", "state": "disabled"}', "has the key 'state' twice"),
    "twice among many": (
        json.dumps(dict.fromkeys(map(str, range(100_000)), 0)).encode().replace(b'"99998"', b'"99999"'),
        "has the key '99999' twice",
    ),
    "long number": (b"[" + b"7" * 5_000 + b"]", "Exceeds the limit"),
    "large": (b" " * (4 * 1024 * 1024 + 1), "is larger than 4 MiB"),
    "neither encoding": (b'"\xff\xff\xff"', "neither UTF-8 nor UTF-16"),
    "deep": (b"[" * 100_000, "cannot be read"),
    "cut off": (b'{"state":', "line 1, column 10"),
    "no number": (b'{"state": NaN}', "holds NaN, Infinity"),
    "too large a number": (b'{"state": 1e999}', "or a number too large"),
    "no character": (b'{"state": "\\ud800"}', "half of a surrogate pair"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, command: str, wrong: str) -> None:
    data, words = WRONG[wrong]
    file = tmp_path / "file.json"
    file.write_bytes(data)
    done = CliRunner().invoke(app, ["--state", "/nowhere", *COMMANDS[command].format(file).split()])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["policy what-if --user", "policy access remove", "policy history", "user add"])
def test_a_name_that_is_no_text_is_one_line(command: str) -> None:
    """Python hands on bytes of the command line that are no UTF-8 as halves of surrogate pairs."""
    done = CliRunner().invoke(app, ["--state", "/nowhere", *command.split(), "alice\udcff"])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "no UTF-8" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_policy_of_any_name_has_a_file_name_that_file_systems_take(tmp_path: Path) -> None:
    taken: set[str] = set()
    names = [_choose_file_name(name, taken) for name in ("方針" * 60, "方針" * 60, "../../etc/passwd", "...", "")]
    for name in names:
        (tmp_path / name).touch(exist_ok=False)
    assert names[2:] == ["_.._etc_passwd.json", "policy.json", "policy 2.json"]
