"""Making an installation: every option checked first, the right owners and modes, and nothing left of a failure."""

import os
import shutil
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import inspect, select

from evertunnel.app import copy_storage
from evertunnel.config import load_config
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.initialise import InitOptions, initialise
from evertunnel.installation import Installation
from evertunnel.model import Authority
from evertunnel.signer import LocalSigner
from evertunnel.state_folder import StateFolder
from evertunnel.storage import authorities, tables
from evertunnel.storage.store import Store
from tests.folders import make_folder
from tests.postgresql import Server

OPTIONS = InitOptions("Example Corp", "vpn.example.com", "http://vpn.example.com", user_base=61_900)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every process's user may enter; as root that is demanded."""
    place = make_folder()
    yield place
    shutil.rmtree(place)


def find_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_belong_to_those_who_need_them(place: Path) -> None:
    folder = StateFolder(place / "state")
    initialise(folder, OPTIONS)
    modes = {
        str(path.relative_to(folder.path)): find_mode(path)
        for path in folder.path.rglob("*")
        if not path.name.endswith((".pem", "-wal", "-shm"))
    }
    assert modes == {
        "evertunnel.toml": 0o644, "data": 0o2770, "data/evertunnel.db": 0o660, "run": 0o755, "gateways": 0o2750,
        "keys": 0o750, "keys/secrets.key": 0o600, "keys/signer": 0o700, "keys/radius": 0o700,
        "keys/web-public": 0o700, "keys/web-admin": 0o700, "keys/gateway": 0o700, "keys/gate": 0o700,
        **{f"keys/{name}/secrets.key": 0o600 for name in ("radius", "web-admin", "gateway", "gate")},
        "keys/web-public/sign-in.key": 0o600,
    }  # fmt: skip
    keys = list((folder.path / "keys").rglob("*.pem"))
    assert len(keys) == 6
    assert {find_mode(key) for key in keys} == {0o600}
    if os.geteuid() == 0:
        owners = {key.parent.name: key.stat().st_uid - 61_900 for key in keys}
        assert owners == {"signer": 1, "radius": 2, "web-public": 3}


def test_the_configuration_says_what_was_asked_for(place: Path) -> None:
    folder = StateFolder(place / "state")
    odd = 'A "quoted" name \\ with ümläuts'
    initialise(folder, replace(OPTIONS, organisation=odd, listen={"radius": "[::1]:18120"}))
    config = load_config(folder.path)
    assert (config.installation.organisation, config.installation.public_name) == (odd, "vpn.example.com")
    assert config.listen.radius == "[::1]:18120"
    assert tomllib.loads((folder.path / "evertunnel.toml").read_text())["processes"]["gate"] == "61906"


def test_authorities_servers_and_lists_are_there(place: Path) -> None:
    folder = StateFolder(place / "state")
    initialise(folder, OPTIONS)
    store = Store(folder.database_url)
    with store.read() as connection:
        assert set(authorities.load_authorities(connection)) == set(Authority)
        assert all(authorities.find_revocation_list(connection, authority) for authority in Authority)
        statuses = list(connection.execute(select(tables.certificates.c.status)).scalars())
    store.close()
    assert statuses == ["valid", "valid"]


def test_no_private_key_is_in_the_database(place: Path) -> None:
    folder = StateFolder(place / "state")
    initialise(folder, OPTIONS)
    stored = b"".join(path.read_bytes() for path in (folder.path / "data").iterdir())
    assert b"PRIVATE KEY" not in stored
    secret = (folder.path / "keys" / "secrets.key").read_bytes()
    assert len(secret) == 32 and secret not in stored


WRONG = {
    "organisation": ["", "  ", "a\x1b[31m", "a\u202eb", "a\nb", "\ud800"],
    "public_name": ["", "vpn example", "-x", "vpn.example.com:443", "http://vpn.example.com", "ü.example", "\u212a"],
    "public_url": ["", "vpn.example.com", "https://vpn.example.com", "ftp://x", 'http://x"y', "http://x y", "http://",
                   "http://ü.example", "http://x\n", "http://x/?a", "http://x/\x7f", "http://user@x"],
    "key_type": ["", "rsa", "p521", "P256"],
    "listen": [{"radius": "1812"}, {"public_http": "host:80"}, {"gate": "::1:8118"}, {"public_https": "1.1.1.1:0"}],
    "user_base": [0, -5, 2**31],
}  # fmt: skip


@pytest.mark.parametrize(("option", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_option_is_named_and_nothing_is_made(place: Path, option: str, value: object) -> None:
    folder = StateFolder(place / "state")
    with pytest.raises(InvalidInputError) as caught:
        initialise(folder, replace(OPTIONS, **{option: value}))
    assert str(caught.value).startswith("--") or "is not a DNS name" in str(caught.value)
    assert not folder.path.exists()


@pytest.mark.parametrize(
    "url", ["http://vpn.example.com", "http://10.0.0.1:8080", "http://[::1]/pki", "http://a-b.c/~x/y_z"]
)
def test_an_address_that_certificates_can_carry_is_taken(place: Path, url: str) -> None:
    folder = StateFolder(place / "state")
    initialise(folder, replace(OPTIONS, public_url=url))
    assert load_config(folder.path).installation.public_url == url


def test_an_empty_folder_is_used_and_stays_when_something_fails(place: Path) -> None:
    folder = StateFolder(place / "state")
    folder.path.mkdir()
    (place / "state" / "link").symlink_to(place)
    with pytest.raises(InvalidInputError, match="is not empty"):
        initialise(folder, OPTIONS)
    assert (place / "state" / "link").is_symlink()
    (place / "state" / "link").unlink()
    initialise(folder, OPTIONS)


def test_a_folder_reached_through_a_link_is_cleaned_and_the_link_stays(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to(place / "real")
    folder = StateFolder(place / "link")
    folder.create(group=os.getgid(), gateway_owner=os.getuid())
    (place / "link" / "data" / "half").write_text("made")
    folder.remove(keep=True)
    assert (place / "link").is_symlink()
    assert list((place / "real").iterdir()) == []


def list_tables(url: str) -> list[str]:
    store = Store(url)
    with store.read() as connection:
        found: list[str] = inspect(connection).get_table_names()
    store.close()
    return found


def test_on_postgresql_nothing_of_the_state_is_in_the_folder_but_keys(place: Path, postgresql_server: Server) -> None:
    url = postgresql_server.url(postgresql_server.make_database())
    folder = StateFolder(place / "state")
    initialise(folder, replace(OPTIONS, database_url=url))
    assert list((folder.path / "data").iterdir()) == []
    installation = Installation(folder)
    assert installation.database_url == url
    installation.verify_database()
    with pytest.raises(InvalidInputError, match="is not empty: it has a table"):
        initialise(StateFolder(place / "other"), replace(OPTIONS, database_url=url))
    assert not (place / "other").exists()


def test_on_postgresql_a_failure_leaves_the_database_empty(
    place: Path, postgresql_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql_server.url(postgresql_server.make_database())

    def fail(_signer: object) -> None:
        raise UnavailableError("the signer fails")

    monkeypatch.setattr(LocalSigner, "publish_revocations", fail)
    with pytest.raises(UnavailableError, match="the signer fails"):
        initialise(StateFolder(place / "state"), replace(OPTIONS, database_url=url))
    assert not (place / "state").exists()
    assert list_tables(url) == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://u:secret@db/x", "has a password in it"),
        ("mysql://db/x", "is no kind of database"),
        ("postgresql:///x?host=/nowhere", "--database-url: the database cannot be read"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_before_anything_is_made(place: Path, url: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        initialise(StateFolder(place / "state"), replace(OPTIONS, database_url=url))
    assert not (place / "state").exists()


def test_the_state_moves_to_postgresql_and_back(place: Path, postgresql_server: Server) -> None:
    folder = StateFolder(place / "state")
    initialise(folder, OPTIONS)
    config = (folder.path / "evertunnel.toml").read_text(encoding="utf-8")
    url = postgresql_server.url(postgresql_server.make_database())
    there = copy_storage(folder, url, on_progress=lambda *_progress: None)
    assert Installation(folder).database_url == url
    back = f"sqlite:///{folder.path}/data/back.db"
    assert copy_storage(folder, back, on_progress=lambda *_progress: None) == there
    assert Installation(folder).database_url == back
    path = folder.path / "data" / "back.db"
    assert find_mode(path) == 0o660
    if os.geteuid() == 0:
        assert path.stat().st_gid == 61_900
    text = (folder.path / "evertunnel.toml").read_text(encoding="utf-8")
    assert text.replace(f'database_url = "{back}"\n', "").split() == config.split()
    with pytest.raises(InvalidInputError, match="is used already"):
        copy_storage(folder, back, on_progress=lambda *_progress: None)
    lock = folder.lock()
    with pytest.raises(InvalidInputError, match="another `evertunnel serve` runs"):
        copy_storage(folder, url, on_progress=lambda *_progress: None)
    os.close(lock)


def test_a_copy_is_for_nobody_else_from_its_first_byte(place: Path) -> None:
    folder = StateFolder(place / "state")
    initialise(folder, OPTIONS)
    path, modes = folder.path / "data" / "other.db", set[int]()
    previous = os.umask(0o022)
    try:
        copy_storage(
            folder, f"sqlite:///{path}", on_progress=lambda *_progress: modes.update(map(find_mode, list_beside(path)))
        )
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(previous)
    assert modes and not any(mode & 0o007 for mode in modes)


def list_beside(path: Path) -> list[Path]:
    """A database and its side files."""
    return [child for child in path.parent.iterdir() if child.name.startswith(path.name)]


def test_what_a_killed_command_left_is_not_served(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StateFolder(place / "state")
    monkeypatch.setattr(LocalSigner, "sign", lambda *_arguments: os._exit(9))
    if (pid := os.fork()) == 0:
        try:
            initialise(folder, OPTIONS)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert (folder.path / "data" / "evertunnel.db").exists()
    with pytest.raises(InvalidInputError, match="does not exist"):
        Installation(folder)
