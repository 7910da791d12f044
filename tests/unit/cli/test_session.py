"""Sizes and times for people."""

import pytest
from typer.testing import CliRunner

from evertunnel.cli.app import app
from evertunnel.cli.session import format_duration, format_octets


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (66_900 * 1024, "65.3 MiB"), (2**63 - 1, "8192.0 PiB")],
)
def test_octets(octets: int, text: str) -> None:
    assert format_octets(octets) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0, "0:00:00"), (3_725, "1:02:05"), (90_061, "1 d 1:01:01")])
def test_durations(seconds: int | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("options", "problem"),
    [(["--since", "yesterday"], "--since: 'yesterday' is not a day"), (["--by", "moon"], "--by: 'moon' is not one of")],
)
def test_what_cannot_be_asked_is_said_before_the_server_is(options: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["--state", "/nowhere", "session", "statistics", *options])
    assert done.exit_code == 2
    assert problem in done.stderr


@pytest.mark.parametrize(
    "named", [[], ["s1", "--user", "alice"], ["--user", "alice", "--device", "laptop1"]], ids=["none", "two", "both"]
)
def test_what_to_end_is_named_once(named: list[str]) -> None:
    done = CliRunner().invoke(app, ["--state", "/nowhere", "session", "end", *named])
    assert done.exit_code == 2
    assert "name one session by its id, or give --user or --device" in done.stderr
