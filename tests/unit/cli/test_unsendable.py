"""What no request can carry is refused in one line, as anything else that is wrong."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from evertunnel.cli.app import app

# A byte of the command line that is no UTF-8.
BAD = "a\udcff"


@pytest.mark.parametrize(
    "arguments",
    [
        ["user", "add", f"{BAD}@corp.example"],
        ["deny", "user", "alice@corp.example", "--reason", BAD],
        ["profile", "show", BAD],
        ["allow", "user", BAD],
    ],
)
def test_bytes_that_are_no_text(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["--state", "/nowhere", *arguments])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.stderr.startswith("evertunnel: ") and done.stderr.count("\n") == 1
    assert "no UTF-8" in done.stderr


@pytest.mark.parametrize("text", ['{"displayName": NaN}', '{"displayName": 1e999}'])
def test_a_number_that_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text)
    done = CliRunner().invoke(app, ["--state", "/nowhere", "compliance", "import", str(file)])
    assert isinstance(done.exception, SystemExit), done.exception
    assert "cannot be sent" in done.stderr and done.stderr.count("\n") == 1


def test_a_name_longer_than_a_url() -> None:
    done = CliRunner().invoke(app, ["--state", "/nowhere", "user", "remove", "a" * 70_000])
    assert isinstance(done.exception, SystemExit), done.exception
    assert "too long" in done.stderr


@pytest.mark.parametrize("hours", ["nan", "inf", "-1", "0"])
def test_hours_that_are_none(hours: str) -> None:
    add = [
        "gateway",
        "add",
        "gw1",
        "--public-name",
        "vpn.example.com",
        "--device-pool",
        "10.0.0.0/24",
        "--user-pool",
        "10.1.0.0/24",
    ]
    add += ["--device-network", "10.2.0.0/24", "--user-network", "10.2.0.0/24"]
    for command in (add, ["gateway", "change", "gw1"]):
        done = CliRunner().invoke(app, ["--state", "/nowhere", *command, "--device-hours", hours])
        assert isinstance(done.exception, SystemExit), done.exception
        assert "--device-hours" in done.stderr
