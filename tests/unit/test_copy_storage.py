"""Where the state may be copied to: a database that every process can write."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evertunnel.app import copy_storage
from evertunnel.errors import InvalidInputError
from evertunnel.initialise import InitOptions, initialise
from evertunnel.installation import Installation
from evertunnel.state_folder import StateFolder
from tests.folders import make_folder

OPTIONS = InitOptions("Example Corp", "vpn.example.com", "http://vpn.example.com", user_base=61_900)


@pytest.fixture
def folder() -> Iterator[StateFolder]:
    place = make_folder()
    initialise(StateFolder(place / "state"), OPTIONS)
    yield StateFolder(place / "state")
    shutil.rmtree(place)


def copy(folder: StateFolder, path: Path | str) -> int:
    return copy_storage(folder, f"sqlite:///{path}", on_progress=lambda *_progress: None)


def test_another_file_beside_the_database_is_used_from_then_on(folder: StateFolder) -> None:
    path = folder.path / "data" / "other.db"
    assert copy(folder, path) > 0
    assert Installation(folder).database_url == f"sqlite:///{path}"


@pytest.mark.parametrize("place", ["../x.db", "x.db", "data/../../x.db", "data/deeper/x.db", ":memory:", ""])
def test_a_file_elsewhere_is_refused_before_anything_is_made(folder: StateFolder, place: str) -> None:
    before = Installation(folder).database_url
    path = place if place in ("", ":memory:") else folder.path / place
    with pytest.raises(InvalidInputError, match=r"--to: .*/data/"):
        copy(folder, path)
    assert Installation(folder).database_url == before
    assert [each.name for each in folder.path.parent.rglob("x.db")] == []
