"""A backup and what comes of it: whole, changed, cut off, somebody else's, and on a place that is not empty."""

import io
import os
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evertunnel import clock
from evertunnel.actions.add_foreign_gateway import ForeignGateway, add_foreign_gateway
from evertunnel.actions.add_user import add_user
from evertunnel.backup import make_backup
from evertunnel.backup_archive import ArchiveReader, Manifest
from evertunnel.cli.app import app
from evertunnel.config_text import set_settings
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.initialise import InitOptions, initialise
from evertunnel.installation import Installation
from evertunnel.restore import restore
from evertunnel.state_folder import StateFolder
from evertunnel.storage.verify_chain import verify_chain
from tests.folders import make_folder

PASSPHRASE = "correct horse battery"
OPTIONS = InitOptions("Example Corp", "vpn.example.com", "http://vpn.example.com", user_base=61_900)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    place = make_folder()
    initialise(StateFolder(place / "state"), OPTIONS)
    made = Installation(StateFolder(place / "state"))
    make_backup(made, place / "plain.tar", passphrase=None, actor="ann")
    make_backup(made, place / "keys.tar", passphrase=PASSPHRASE, actor="ann")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def target(place: Path) -> Iterator[StateFolder]:
    yield StateFolder(place / "restored")
    shutil.rmtree(place / "restored", ignore_errors=True)


def run(source: Path, target: StateFolder, passphrase: str = PASSPHRASE, **options: object) -> Manifest:
    return restore(source, target, lambda: passphrase, actor="ann", **options)  # type: ignore[arg-type]


def list_files(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(folder)): (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid, path.stat().st_gid)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_backup_is_for_its_maker_alone_and_nothing_is_left_beside_it(place: Path) -> None:
    assert stat.S_IMODE((place / "plain.tar").stat().st_mode) == 0o600
    assert {path.name for path in place.iterdir()} == {"state", "plain.tar", "keys.tar"}


def test_tar_reads_it(place: Path) -> None:
    with tarfile.open(place / "keys.tar") as archive:
        assert archive.getnames() == ["manifest.json", "evertunnel.toml", "evertunnel.db", "keys.sealed"]


def test_no_key_is_in_a_plain_backup_and_none_is_readable_in_the_other(place: Path) -> None:
    for path in (place / "state" / "keys").rglob("*"):
        if path.is_file():
            secret = path.read_bytes().strip().splitlines()
            for archive in ("plain.tar", "keys.tar"):
                assert max(secret, key=len) not in (place / archive).read_bytes(), path


@pytest.mark.parametrize(("base", "shift"), [(None, 0), (62_000, 100)])
def test_with_keys_everything_is_there_and_belongs_to_this_machines_users(
    place: Path, target: StateFolder, base: int | None, shift: int
) -> None:
    run(place / "keys.tar", target, user_base=base)
    before, after = list_files(place / "state"), list_files(target.path)
    as_root = os.geteuid() == 0
    for name in ("keys", "data"):
        wanted = {
            path: (mode, owner + shift if as_root and owner else owner, group + shift if as_root and group else group)
            for path, (mode, owner, group) in before.items()
            if path.startswith(name)
        }
        assert {path: found for path, found in after.items() if path.startswith(name)} == wanted
    for path in (place / "state" / "keys").rglob("*"):
        if path.is_file():
            assert (target.path / path.relative_to(place / "state")).read_bytes() == path.read_bytes()
    restored = Installation(target)
    if base:
        assert restored.config.processes.signer == str(base + 1)
    restored.verify_database()


def test_a_plain_one_takes_the_keys_from_a_copy_of_the_folder(place: Path, target: StateFolder) -> None:
    run(place / "plain.tar", target, keys_folder=place / "state" / "keys")
    assert list_files(target.path / "keys") == list_files(place / "state" / "keys")


def test_without_keys_there_are_none_and_serving_says_so(place: Path, target: StateFolder) -> None:
    assert run(place / "plain.tar", target).keys is None
    assert list_files(target.path / "keys") == {}
    made = Installation(target)
    with pytest.raises(UnavailableError, match=r"secrets.key cannot be handed out: No such file"):
        made.keystore.hand_out(owners=made.find_users())


def test_records_hold_their_chain_and_the_restoring_is_one_of_them(place: Path, target: StateFolder) -> None:
    manifest = run(place / "keys.tar", target)
    store = Installation(target).open_store()
    with store.read() as connection:
        report = verify_chain(connection, expected_head=manifest.head)
    store.close()
    assert report.problems == [] and report.batches == manifest.batches + 1


def test_a_list_made_after_restoring_has_a_number_nobody_has_seen(place: Path, target: StateFolder) -> None:
    run(place / "keys.tar", target)
    for state, least in ((place / "state", 1), (target.path, 10_001)):
        with closing(sqlite3.connect(state / "data" / "evertunnel.db")) as database:
            assert database.execute("SELECT min(number) FROM revocation_lists").fetchone() == (least,)


def test_what_is_committed_while_it_is_copied_is_whole_or_not_in_it(place: Path, target: StateFolder) -> None:
    made, out = Installation(StateFolder(place / "state")), place / "busy.tar"
    store = made.open_store()  # an open writer, whose log is not folded into the file yet
    for number in range(50):
        add_user(store, f"u{number}@corp.example", actor="ann", now=clock.now())
    make_backup(made, out, passphrase=None, actor="ann")
    store.close()
    run(out, target)
    with closing(sqlite3.connect(target.path / "data" / "evertunnel.db")) as database:
        assert database.execute("SELECT count(*) FROM users").fetchone() == (50,)
    out.unlink()


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def rebuild(data: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The archive with other members."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    change(members)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def link(data: bytes) -> bytes:
    info = tarfile.TarInfo("manifest.json")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"
    return info.tobuf(tarfile.GNU_FORMAT) + data


def change(name: str, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: rebuild(data, lambda members: members.update({name: members[name].replace(old, new, 1)}))


BENT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda _data: b"", "is no backup of evertunnel"),
    "less than a block": (lambda data: data[:100], "is no backup of evertunnel"),
    "something else": (lambda _data: os.urandom(4096), "is no backup of evertunnel"),
    "zeros": (lambda _data: bytes(4096), "is no backup of evertunnel"),
    "another tar": (lambda data: rebuild(data, lambda members: members.pop("manifest.json")), "is no backup"),
    "a link": (link, "no plain file"),
    "cut in the manifest": (lambda data: data[:700], "is cut off"),
    "cut in the database": (lambda data: data[: len(data) // 2], "is cut off"),
    "cut before the keys": (lambda data: data[: data.rindex(b"keys.sealed")], "is cut off"),
    "cut before the end": (lambda data: data[:-1024], "is cut off"),
    "a bit in the database": (lambda data: flip(data, len(data) // 2), "another hash"),
    "a bit in the configuration": (lambda data: flip(data, data.index(b"[listen]")), "another hash"),
    "a bit in the keys": (lambda data: flip(data, data.rindex(b"keys.sealed") + 600), "do not open"),
    "another head": (change("manifest.json", b'"head": "', b'"head": "x'), "manifest cannot be read"),
    "another name in the manifest": (change("manifest.json", b"Example Corp", b"Example Bank"), "do not open"),
    "the manifest is no JSON": (change("manifest.json", b"{", b"["), "manifest cannot be read"),
    "a manifest with more": (change("manifest.json", b"{", b'{"x": 1,'), "manifest cannot be read"),
    "a format of tomorrow": (change("manifest.json", b'_version": 1', b'_version": 2'), "does not know"),
    "a schema of tomorrow": (change("manifest.json", b'schema": "0', b'schema": "9'), "made by a newer version"),
    "more in it": (lambda data: rebuild(data, lambda members: members.update(extra=b"x")), "more in it"),
    "no database": (lambda data: rebuild(data, lambda members: members.pop("evertunnel.db")), "is missing or of"),
    "without its keys": (lambda data: rebuild(data, lambda members: members.pop("keys.sealed")), "is missing or too"),
}  # fmt: skip


@pytest.mark.parametrize("what", BENT)
def test_what_was_bent_is_refused_in_a_line_and_nothing_is_written(place: Path, target: StateFolder, what: str) -> None:
    bend, words = BENT[what]
    source = place / "bent.tar"
    source.write_bytes(bend((place / "keys.tar").read_bytes()))
    with pytest.raises(InvalidInputError) as caught:
        run(source, target)
    source.unlink()
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not target.path.exists()


def edit_database(members: dict[str, bytes], statement: str) -> None:
    """Change the database and everything that follows from it, as somebody without a key can."""
    import hashlib

    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(members["evertunnel.db"])
        database.execute(statement)
        database.commit()
        after = database.serialize()
    for old, new in ((members["evertunnel.db"], after),):
        manifest = Manifest.model_validate_json(members["manifest.json"])
        config, member = manifest.files
        member = member.model_copy(update={"size": len(new), "sha256": hashlib.sha256(new).hexdigest()})
        assert old != new
        members["manifest.json"] = manifest.model_copy(update={"files": (config, member)}).encode()
        members["evertunnel.db"] = new


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit SET actor = 'eve'", "the records in it were changed"),
        ("DELETE FROM batches WHERE number = 2", "the records in it were changed"),
        ("UPDATE ledger SET batch_number = 0", "the records in it were changed"),
        ("DROP TABLE audit", "cannot be read"),
        ("DELETE FROM alembic_version", "cannot be made or upgraded"),
    ],
)
def test_records_that_were_changed_with_all_hashes_are_refused_by_their_chain(
    place: Path, target: StateFolder, statement: str, words: str
) -> None:
    source = place / "bent.tar"
    data = (place / "plain.tar").read_bytes()
    source.write_bytes(rebuild(data, lambda members: edit_database(members, statement)))
    with pytest.raises(InvalidInputError, match=words):
        run(source, target)
    source.unlink()
    assert not target.path.exists()


def test_the_wrong_passphrase_writes_nothing(place: Path, target: StateFolder) -> None:
    with pytest.raises(InvalidInputError, match="another passphrase"):
        run(place / "keys.tar", target, "another horse battery")
    assert not target.path.exists()


@pytest.mark.parametrize("step", ["_check_database", "_check_keys"])
def test_what_a_killed_command_left_is_not_served(
    place: Path, target: StateFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(f"evertunnel.restore.{step}", lambda *_arguments: os._exit(9))
    if (pid := os.fork()) == 0:
        try:
            run(place / "keys.tar", target)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert (target.path / "data" / "evertunnel.db").exists()
    with pytest.raises(InvalidInputError, match="does not exist"):
        Installation(target)


def test_a_folder_that_is_not_empty_is_left_alone(place: Path) -> None:
    before = list_files(place / "state")
    with pytest.raises(InvalidInputError, match="is not empty"):
        run(place / "keys.tar", StateFolder(place / "state"))
    assert list_files(place / "state") == before


def test_a_folder_that_is_no_copy_of_keys_is_refused(place: Path, target: StateFolder) -> None:
    with pytest.raises(InvalidInputError, match="is no copy of a folder keys"):
        run(place / "plain.tar", target, keys_folder=place / "state" / "data")
    assert not target.path.exists()


@pytest.mark.parametrize("whose", ["signer/device.pem", "secrets.key", ""])
def test_keys_of_another_installation_are_refused(place: Path, target: StateFolder, whose: str) -> None:
    """They would serve nothing: the old folder may be thrown away by then."""
    initialise(StateFolder(place / "other"), OPTIONS)
    keys = place / "other" / "keys"
    if whose:
        shutil.copytree(place / "state" / "keys", place / "mixed")
        shutil.copy(keys / whose, place / "mixed" / whose)
        keys = place / "mixed"
    state = Installation(StateFolder(place / "state"))
    store = state.open_store()
    seal = state.keystore.seal
    add_foreign_gateway(
        store,
        ForeignGateway(f"fw{len(whose)}", f"192.0.2.{len(whose)}"),
        seal=lambda secret, context: seal(secret, context=context),
        actor="ann",
        now=clock.now(),
    )
    store.close()
    make_backup(state, place / "sealed.tar", passphrase=None, actor="ann")
    try:
        with pytest.raises(InvalidInputError, match="is of another installation") as caught:
            run(place / "sealed.tar", target, keys_folder=keys)
        assert (whose or "signer/") in str(caught.value)
        assert not target.path.exists()
        run(place / "sealed.tar", target, keys_folder=place / "state" / "keys")
    finally:
        (place / "sealed.tar").unlink()
        shutil.rmtree(place / "other")
        shutil.rmtree(place / "mixed", ignore_errors=True)


@pytest.mark.parametrize(
    "missing",
    [
        "signer/issuing.pem",
        "signer/device.pem",
        "radius/policy-server.pem",
        "web-public/https.pem",
        "secrets.key",
    ],
)
@pytest.mark.parametrize("half", [False, True])
def test_a_copy_of_keys_that_could_not_serve_is_refused(
    place: Path, target: StateFolder, missing: str, half: bool
) -> None:
    copy = place / "copy"
    shutil.copytree(place / "state" / "keys", copy)
    try:
        data = (copy / missing).read_bytes()
        (copy / missing).unlink()
        if half:
            (copy / missing).write_bytes(data[: len(data) // 2])
        with pytest.raises((InvalidInputError, UnavailableError), match=missing):
            run(place / "plain.tar", target, keys_folder=copy)
        assert not target.path.exists()
    finally:
        shutil.rmtree(copy)


def test_a_sealing_key_that_is_a_credential_is_said_to_be_elsewhere(place: Path, target: StateFolder) -> None:
    moved = StateFolder(place / "moved")
    shutil.copytree(place / "state", moved.path)
    config = moved.path / "evertunnel.toml"
    config.write_text(set_settings(config.read_text(), "keys", {"sealing": "credential"}))
    for path in (moved.path / "keys").rglob("secrets.key"):
        path.unlink()
    runner, environment = CliRunner(), {"EVERTUNNEL_STATE": str(moved.path)}
    done = runner.invoke(app, ["backup", "--out", str(place / "c.tar"), "--with-keys"], f"{PASSPHRASE}\n", environment)
    assert "sealing key is a credential" in done.output
    done = runner.invoke(app, ["restore", str(place / "c.tar"), "--state", str(target.path)], f"{PASSPHRASE}\n")
    assert "sealing key is a credential" in done.output, done.output
    shutil.rmtree(moved.path)
    (place / "c.tar").unlink()


def test_a_file_that_is_there_is_not_overwritten_and_a_short_passphrase_refused(place: Path) -> None:
    made = Installation(StateFolder(place / "state"))
    with pytest.raises(InvalidInputError, match="is there already"):
        make_backup(made, place / "plain.tar", passphrase=None, actor="ann")
    with pytest.raises(InvalidInputError, match="12 characters"):
        make_backup(made, place / "x.tar", passphrase="short", actor="ann")
    with pytest.raises(UnavailableError, match="cannot be written: No such file"):
        make_backup(made, place / "none" / "x.tar", passphrase=None, actor="ann")
    assert {path.name for path in place.iterdir()} == {"state", "plain.tar", "keys.tar"}


@pytest.mark.parametrize("name", ["n" * 300, "plain.tar/below", "keys.tar/below/that"])
def test_where_no_file_can_be_there_is_one_line(place: Path, name: str) -> None:
    with pytest.raises(UnavailableError, match="cannot be written"):
        make_backup(Installation(StateFolder(place / "state")), place / name, passphrase=None, actor="ann")


def test_a_name_that_is_no_text_is_recorded_all_the_same(place: Path, target: StateFolder) -> None:
    out = place / "a\udcff.tar"
    make_backup(Installation(StateFolder(place / "state")), out, passphrase=None, actor="ann")
    run(out, target)
    out.unlink()
    with closing(sqlite3.connect(target.path / "data" / "evertunnel.db")) as database:
        (count,) = database.execute("SELECT count(*) FROM audit WHERE subject LIKE '%a\\xff.tar'").fetchone()
    assert count == 2


def test_files_beside_a_backup_are_left_alone(place: Path) -> None:
    beside = [place / f"y.tar.{what}" for what in ("part", "database", "tmp")]
    for path in beside:
        path.write_text("somebody's")
    make_backup(Installation(StateFolder(place / "state")), place / "y.tar", passphrase=None, actor="ann")
    assert [path.read_text() for path in beside] == ["somebody's"] * 3
    for path in (*beside, place / "y.tar"):
        path.unlink()
    assert {path.name for path in place.iterdir()} == {"state", "plain.tar", "keys.tar"}


def test_a_database_of_a_server_is_left_to_its_own_tools(place: Path) -> None:
    state = place / "server"
    shutil.copytree(place / "state", state)
    config = state / "evertunnel.toml"
    config.write_text('database_url = "postgresql://db.example/x"\n' + config.read_text())
    with pytest.raises(InvalidInputError, match="pg_dump") as caught:
        make_backup(Installation(StateFolder(state)), place / "x.tar", passphrase=None, actor="ann")
    assert "secret@" not in str(caught.value)
    shutil.rmtree(state)


def test_a_database_elsewhere_is_restored_to_the_folder(place: Path, target: StateFolder) -> None:
    state = place / "elsewhere"
    shutil.copytree(place / "state", state)
    (state / "data" / "evertunnel.db").rename(state / "other.db")
    config = state / "evertunnel.toml"
    text = set_settings(config.read_text(), "administrators", {})
    config.write_text(f'database_url = "sqlite:///{state}/other.db"\n{text}')
    make_backup(Installation(StateFolder(state)), place / "elsewhere.tar", passphrase=None, actor="ann")
    run(place / "elsewhere.tar", target)
    assert Installation(target).config.database_url == ""
    shutil.rmtree(state)
    (place / "elsewhere.tar").unlink()


def test_whatever_is_read_as_an_archive_ends_in_a_line(place: Path) -> None:
    """Every bit of the headers, and some of the rest."""
    data = (place / "keys.tar").read_bytes()
    manifest = ArchiveReader(io.BytesIO(data), "x").verify({})
    for at in [*range(0, 512, 3), *range(512, len(data), len(data) // 60)]:
        try:
            found = ArchiveReader(io.BytesIO(flip(data, at)), "x").verify({})
        except InvalidInputError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:  # padding, times and owners mean nothing, and the keys are sealed
            assert found == manifest
