"""Whom a process may become: never root, and nobody by a number that means something else to the kernel."""

from pathlib import Path

import pytest

from evertunnel import accounts, installation
from evertunnel.accounts import find_owners
from evertunnel.app import serve
from evertunnel.config import Processes
from evertunnel.errors import InvalidInputError
from evertunnel.initialise import InitOptions, initialise
from evertunnel.installation import Installation
from evertunnel.privileges import find_group_id, find_user_id
from evertunnel.state_folder import StateFolder

# The kernel takes 2**32 - 1 for "as it is": a process that became that user would stay root.
NUMBERS = [str(2**32 - 1), str(2**32), "9" * 30, "9" * 5000]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_no_users_is_refused(number: str) -> None:
    for find in (find_user_id, find_group_id):
        with pytest.raises(InvalidInputError, match="is no number") as caught:
            find(number)
        assert len(str(caught.value)) < 100


@pytest.mark.parametrize("name", ["²", "٣", "-1", ""])
def test_what_only_looks_like_a_number_is_a_name_nobody_has(name: str) -> None:
    with pytest.raises(InvalidInputError, match="there is no system user"):
        find_user_id(name)


@pytest.mark.parametrize("name", ["root", "0", "00"])
def test_no_process_is_root(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(accounts.os, "geteuid", lambda: 0)
    wanted = Processes(**dict.fromkeys(Processes.model_fields, "61900") | {"radius": name})
    with pytest.raises(InvalidInputError, match="no process of ours may stay root"):
        find_owners(wanted, optional=())


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    monkeypatch.setattr(StateFolder, "verify_reachable", lambda _self: None)
    initialise(folder, InitOptions("Example", "vpn.example.com", "http://vpn.example.com", user_base=61_900))
    return folder


def test_a_configuration_that_says_so_is_not_served(monkeypatch: pytest.MonkeyPatch, folder: StateFolder) -> None:
    config = folder.path / "evertunnel.toml"
    config.write_text(config.read_text().replace('signer = "61901"', 'signer = "root"'))
    monkeypatch.setattr(installation.os, "geteuid", lambda: 0)
    with pytest.raises(InvalidInputError, match="no process of ours may stay root"):
        Installation(folder).find_users()


def test_a_folder_that_is_gone_is_one_line(monkeypatch: pytest.MonkeyPatch, folder: StateFolder) -> None:
    (folder.path / "gateways").rmdir()
    monkeypatch.setattr(installation.os, "geteuid", lambda: 0)
    with pytest.raises(InvalidInputError, match="gateways cannot be given to the gateway: No such file"):
        serve(folder, on_ready=lambda: None, ask_passphrase=lambda: "")
