"""The state folder: one server at a time, and a place all our processes can come to."""

import os
from pathlib import Path

import pytest

from evertunnel.errors import InvalidInputError
from evertunnel.state_folder import StateFolder


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A folder with its parts."""
    folder = StateFolder(tmp_path / "state")
    folder.create(group=os.getgid(), gateway_owner=os.getuid())
    return folder


def test_only_one_may_hold_the_folder(folder: StateFolder) -> None:
    descriptor = folder.lock()
    with pytest.raises(InvalidInputError, match="another `evertunnel serve` runs on"):
        folder.lock()
    os.close(descriptor)
    os.close(folder.lock())


def test_the_lock_of_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"serve\.lock cannot be opened: No such file"):
        StateFolder(tmp_path).lock()


def test_a_folder_others_may_not_enter_on_the_way_is_named(folder: StateFolder, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(InvalidInputError, match=rf"may not enter {tmp_path}: choose another folder"):
        folder.verify_reachable()


def test_what_is_there_is_not_empty_and_what_is_not_is(folder: StateFolder, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is not empty"):
        folder.verify_empty()
    StateFolder(tmp_path / "nothing").verify_empty()


def test_removing_takes_everything_back(folder: StateFolder) -> None:
    folder.remove(keep=True)
    assert list(folder.path.iterdir()) == []
    folder.remove(keep=False)
    assert not folder.path.exists()
    folder.remove(keep=False)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="cannot make the state folder"):
        StateFolder(tmp_path / "file" / "state").create(group=os.getgid(), gateway_owner=os.getuid())
