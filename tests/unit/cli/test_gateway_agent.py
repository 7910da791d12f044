"""The agent's own commands: what was mistyped or never enrolled makes neither folder nor account."""

import os
import pwd
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evertunnel.cli.app import app

NOBODY = "evertunnel-test-nobody"


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (["enrol"], "a code", "begins with evt1-"),
        (["enrol"], "evt1-AAAA", "not complete, or was typed wrong"),
        (["enrol"], "", "no enrolment code came"),
        ([], "", "no agent was enrolled in"),
    ],
    ids=["no code", "a code cut off", "nothing", "never enrolled"],
)
def test_it_says_so_and_leaves_nothing(tmp_path: Path, command: list[str], given: str, said: str) -> None:
    folder = tmp_path / "agent"
    options = ["--folder", str(folder), "--user", NOBODY]
    done = CliRunner().invoke(app, ["gateway", "agent", *command, *options], input=given)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output
    assert os.listdir(tmp_path) == []
    with pytest.raises(KeyError):
        pwd.getpwnam(NOBODY)
