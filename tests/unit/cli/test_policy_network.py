"""The commands of network policies, over the API of an installation: options, files, and what is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from evertunnel.cli import policy_network
from evertunnel.cli.app import app
from evertunnel.cli.client import API
from tests.installation import ALICE, Installation
from tests.unit.web.api.clients import build_client

Run = Callable[..., Result]


@pytest.fixture
def run(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `evertunnel policy network`; the server is in this process."""
    installation.add_user()
    installation.add_group("Sales")
    with build_client(installation) as client:

        class Near(API):
            def __init__(self, _context: typer.Context) -> None:
                self._away_is_error, self._path, self._client = False, Path("/near"), client

        monkeypatch.setattr(policy_network, "API", Near)
        yield lambda *words: CliRunner().invoke(app, ["--state", "/nowhere", "policy", "network", *words])


def show(run: Run, name: str = "Staff") -> Any:
    done = run("show", name, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def staff(run: Run) -> Run:
    done = run("add", "Staff", "--grant", "--tunnel", "user", "--user", ALICE, "--session-timeout", "600")
    assert done.exit_code == 0, done.stderr
    run("add", "Rest", "--deny")
    return run


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ([], 2, "give what to change, --file, or --position"),
        (["--clear", "everything"], 2, "--clear everything: it is none of tunnel, user, group"),
        (["--user", ALICE, "--clear", "user"], 2, "give --user or --clear user, not both"),
        (["--file", "x.json", "--deny"], 2, "give --file or options"),
        (["--file", "/nowhere/x.json"], 1, "/nowhere/x.json cannot be read"),
        (["--tunnel", "moon"], 1, "$.conditions.tunnel: 'moon' is not one of user, device"),
        (["--user", "bob"], 1, "$.conditions.users[0]: there is no user 'bob'"),
        (["--session-timeout", "0"], 1, "$.settings.session_timeout_seconds"),
    ],
)
def test_what_cannot_be_meant_is_refused(staff: Run, words: list[str], code: int, problem: str) -> None:
    before = show(staff)
    done = staff("change", "Staff", *words)
    assert (done.exit_code, problem in done.stderr) == (code, True), done.stderr
    assert show(staff) == before


def test_options_change_what_they_name_and_clear_takes_away(staff: Run) -> None:
    words = ("--deny", "--group", "Sales", "--clear", "user", "--clear", "session-timeout", "--position", "2")
    done = staff("change", "staff", *words)
    assert done.stdout == "Network policy Staff stands at place 2, version 2.\n"
    row = show(staff)
    assert row["document"] == {
        "permission": "deny", "conditions": {"tunnel": "user", "groups": ["Sales"]}, "settings": {},
    }  # fmt: skip
    staff("change", "Staff", "--method", "peap-eap-mschapv2")
    assert staff("show", "Staff").stdout.splitlines() == [
        f"Staff ({row['id']}), place 2, version 3", "  deny, on", "  tunnel: user", "  groups: Sales",
        "  authentication_methods: peap-eap-mschapv2", "  weak: MS-CHAPv2",
    ]  # fmt: skip


def test_what_show_prints_can_be_changed_and_given_back(staff: Run, tmp_path: Path) -> None:
    path, row = tmp_path / "staff.json", show(staff)
    row["document"]["conditions"] = {"users": [ALICE.upper()]}
    path.write_text(json.dumps(row), encoding="utf-16")
    assert staff("change", "Rest", "--file", str(path)).stderr.endswith(
        "is of the network policy 'Staff', not of 'Rest'\n"
    )
    assert staff("change", "Staff", "--file", str(path)).exit_code == 0
    assert show(staff)["document"]["conditions"] == {"users": [ALICE]}
    done = staff("change", "Staff", "--file", str(path))
    assert done.exit_code == 1 and "is at version 2, and this was made from version 1" in done.stderr
    for text in ("[]", "{}", '{"document": []}', '{"document": ' * 100_000):
        path.write_text(text)
        done = staff("change", "Staff", "--file", str(path))
        assert done.exit_code == 1 and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["a/b", "..", "change", "import", "x?y", "<b>", "é"])
def test_a_policy_may_be_called_anything(run: Run, name: str) -> None:
    run("add", name, "--deny")
    assert run("change", name, "--grant").exit_code == 0
    assert show(run, name)["document"]["permission"] == "grant"


def test_a_file_goes_out_and_in_again(staff: Run, tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    path.write_text(staff("export").stdout)
    done = staff("import", str(path))
    assert done.exit_code == 1 and "  $.policies[1].name: there is a network policy 'Rest' already" in done.stderr
    assert staff("import", str(path), "--replace").stdout == "They are so already.\n"
    file = json.loads(path.read_text())
    file["policies"] = [{"name": "New", "document": {"permission": "grant"}}, file["policies"][1]]
    path.write_text(json.dumps(file))
    done = staff("import", str(path), "--replace", "--check")
    assert done.stdout == (
        "Would be added 1: New.\nWould be removed 1: Staff.\nNothing was imported. It would end 0 of 0 live sessions.\n"
    )
    assert show(staff)["position"] == 1
    assert json.loads(staff("import", str(path), "--replace", "--json").stdout)["removed"] == ["Staff"]
    assert json.loads(staff("export").stdout) == file


@pytest.mark.parametrize("depth", [500, 900, 100_000])
def test_a_deep_file_is_refused_in_a_line(run: Run, tmp_path: Path, depth: int) -> None:
    path = tmp_path / "network.json"
    path.write_text('{"policies": ' + "[" * depth + "]" * depth + "}")
    done = run("import", str(path))
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
