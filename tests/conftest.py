"""Settings for every test, and an installation for those that ask for one."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from evertunnel.model import Authority
from evertunnel.pki.keys import PrivateKey
from tests.installation import Installation, copy_installation, create, open_installation
from tests.postgresql import Original, Server, running

# A busy machine is no reason to fail; HYPOTHESIS_PROFILE=deep looks longer.
settings.register_profile("default", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

Template = tuple[Path, Mapping[Authority, PrivateKey]]
Maker = Callable[[Path], Installation]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The database of a fresh installation and the keys of its authorities."""
    path = tmp_path_factory.mktemp("template") / "evertunnel.db"
    return path, create(f"sqlite:///{path}")


@pytest.fixture
def make_on_sqlite(template: Template) -> Maker:
    """Makes fresh installations on SQLite, each in a folder."""

    def make(folder: Path) -> Installation:
        return copy_installation(template[0], folder / "evertunnel.db", template[1])

    return make


@pytest.fixture
def sqlite_installation(make_on_sqlite: Maker, tmp_path: Path) -> Iterator[Installation]:
    """A fresh installation of the test's own, on SQLite."""
    made = make_on_sqlite(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def installation(sqlite_installation: Installation) -> Installation:
    """Where the kind of database makes no difference: the quicker one."""
    return sqlite_installation


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL server for all tests that do not kill it."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_original(postgresql_server: Server) -> Original:
    """A fresh installation on PostgreSQL, which can be made fresh again."""
    name = postgresql_server.make_database()
    return Original(postgresql_server.url(name), create(postgresql_server.url(name)))


@pytest.fixture
def make_on_postgresql(postgresql_original: Original) -> Maker:
    """Makes an installation on PostgreSQL fresh again, with its secrets in a folder. One at a time."""

    def make(folder: Path) -> Installation:
        postgresql_original.restore()
        return open_installation(postgresql_original.url, folder, postgresql_original.keys)

    return make


@pytest.fixture
def postgresql_installation(make_on_postgresql: Maker, tmp_path: Path) -> Iterator[Installation]:
    """A fresh installation of the test's own, on PostgreSQL."""
    made = make_on_postgresql(tmp_path)
    yield made
    made.store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def make_on_either(request: pytest.FixtureRequest) -> Maker:
    """Each test once with either kind of database."""
    found: Maker = request.getfixturevalue(f"make_on_{request.param}")
    return found


@pytest.fixture
def either_installation(make_on_either: Maker, tmp_path: Path) -> Iterator[Installation]:
    """The same for one installation. Packages whose tests need it call it `installation`."""
    made = make_on_either(tmp_path)
    yield made
    made.store.close()
