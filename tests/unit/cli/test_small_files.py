"""Whatever a command is given for a file: one line, in bounded memory."""

import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evertunnel.cli.app import app
from evertunnel.cli.profile_files import _print, _write

READERS = {
    "facts": ["device", "import-facts"],
    "request": ["certificate", "issue", "--user", "a@b.example", "--out", "out", "--csr"],
    "radsec request": ["gateway", "radsec", "issue", "gw1", "--out", "out", "--csr"],
    "radsec certificate": ["gateway", "radsec", "trust", "gw1"],
    "profile": ["profile", "lint"],
    "access policies": ["policy", "access", "import"],
    "policy tests": ["policy", "test", "import"],
    "compliance": ["compliance", "import"],
}


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["folder", "long", "below a file", "bytes"])
def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path, command: list[str], kind: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.json").mkdir()
    name = {"folder": "folder.json", "long": "n" * 300, "below a file": "file/x.json", "bytes": "\udcff.json"}[kind]
    done = CliRunner().invoke(app, ["--state", "/nowhere", *command, str(tmp_path / name)])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.stderr.startswith("evertunnel: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_a_file_without_end_is_left_unread(tmp_path: Path, command: list[str]) -> None:
    endless = tmp_path / "endless.json"
    with endless.open("wb") as file:
        file.truncate(1 << 40)  # holes: reading all of it would take a terabyte of memory
    done = CliRunner().invoke(app, ["--state", "/nowhere", *command, str(endless)])
    assert isinstance(done.exception, SystemExit), done.exception
    assert "larger than" in done.stderr


@pytest.mark.parametrize("out", ["n" * 300, "file/x"])
def test_an_export_to_where_no_file_can_be(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit):
        _write(tmp_path / out, "text", "utf-8")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_exported_name_cannot_drive_a_terminal(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    text = "first = x\u202ey\x1b[2J\n\tsecond = 1\n"
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr("sys.stdout", out)
    _print(text)
    shown = out.getvalue()
    assert (shown == text) is not is_terminal
    assert ("\u202e" in shown or "\x1b" in shown) is not is_terminal
    assert shown.count("\n") == 2 and "\tsecond" in shown
