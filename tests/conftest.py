"""Settings for every test, and an installation for those that ask for one."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from evertunnel.model import Authority
from evertunnel.pki.keys import PrivateKey
from tests.installation import Installation, copy_installation, create

# A busy machine is no reason to fail; HYPOTHESIS_PROFILE=deep looks longer.
settings.register_profile("default", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

Template = tuple[Path, Mapping[Authority, PrivateKey]]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The database of a fresh installation and the keys of its authorities."""
    path = tmp_path_factory.mktemp("template") / "evertunnel.db"
    return path, create(path)


@pytest.fixture
def installation(template: Template, tmp_path: Path) -> Iterator[Installation]:
    """A fresh installation of the test's own."""
    made = copy_installation(template[0], tmp_path / "evertunnel.db", template[1])
    yield made
    made.store.close()
