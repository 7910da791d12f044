"""The root's key leaves and comes back: the same key, no step whose death loses it, and everything works meanwhile."""

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from evertunnel import clock
from evertunnel.authority_keys import AuthorityKeys
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.initialise import InitOptions, initialise
from evertunnel.installation import Installation
from evertunnel.model import Authority
from evertunnel.pki.encrypted_keys import decrypt_private_key
from evertunnel.pki.keys import encode_private_key, generate_key
from evertunnel.root_key import bring_online, take_offline
from evertunnel.signer import LocalSigner
from evertunnel.state_folder import StateFolder
from evertunnel.storage import authorities, tables
from tests.folders import make_folder

PASSPHRASE = "correct horse battery"
OPTIONS = InitOptions("Example Corp", "vpn.example.com", "http://vpn.example.com", user_base=61_900)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    place = make_folder()
    initialise(StateFolder(place / "state"), OPTIONS)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def made(template: Path) -> Iterator[Installation]:
    """An installation that is not served."""
    place = make_folder()
    shutil.copytree(template / "state", place / "state")
    yield Installation(StateFolder(place / "state"))
    shutil.rmtree(place)


def find_root(made: Installation) -> Path:
    return made.folder.path / "keys" / "signer" / "root.pem"


def find_out(made: Installation) -> Path:
    return made.folder.path.parent / "root-offline.pem"


def offline(made: Installation, **options: int) -> None:
    take_offline(made, find_out(made), PASSPHRASE, actor="ann", **options)


def test_it_leaves_as_an_encrypted_file_that_holds_the_same_key(made: Installation) -> None:
    before = find_root(made).read_bytes()
    offline(made)
    assert not find_root(made).exists()
    out = find_out(made)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert b"BEGIN ENCRYPTED" in out.read_bytes()
    assert encode_private_key(decrypt_private_key(out.read_bytes(), PASSPHRASE)) == before
    assert not list(made.folder.path.parent.glob("*.part"))
    for path in made.folder.path.rglob("*"):
        assert not path.is_file() or before not in path.read_bytes(), path


def test_its_list_is_long_and_both_ways_are_in_the_audit(made: Installation) -> None:
    offline(made, list_days=700)
    bring_online(made, find_out(made), PASSPHRASE, actor="ann")
    store = made.open_store()
    with store.read() as connection:
        row = authorities.find_revocation_list(connection, Authority.ROOT)
        names = connection.execute(select(tables.audit.c.name).order_by(tables.audit.c.batch)).scalars().all()
    store.close()
    assert row is not None and row.next_update > clock.now() + timedelta(days=699)
    assert names[-2:] == ["authority:offline", "authority:online"]


def test_it_comes_back_as_it_was_and_belongs_to_the_signer(made: Installation) -> None:
    before, owner = find_root(made).read_bytes(), find_root(made).parent.stat().st_uid
    offline(made)
    bring_online(made, find_out(made), PASSPHRASE, actor="ann")
    assert find_root(made).read_bytes() == before
    assert (find_root(made).stat().st_uid, stat.S_IMODE(find_root(made).stat().st_mode)) == (owner, 0o600)


def test_the_signer_sees_it_go_and_come_without_a_restart(made: Installation) -> None:
    keys = AuthorityKeys(made.keystore)
    store = made.open_store()
    signer = LocalSigner(store, keys, made.addresses, clock.now)
    assert set(keys) == set(Authority)
    offline(made)
    assert set(signer.list_keys()) == set(keys) == set(Authority) - {Authority.ROOT}
    assert keys.get(Authority.ROOT) is None and keys[Authority.ISSUING]
    assert Authority.ROOT not in signer.publish_revocations()
    with pytest.raises(UnavailableError, match="key of the root authority is not here"):
        signer.publish_list(Authority.ROOT, timedelta(days=1))
    bring_online(made, find_out(made), PASSPHRASE, actor="ann")
    assert len(keys) == 4 and keys[Authority.ROOT]
    store.close()


@pytest.mark.parametrize(("days", "warned"), [(29, True), (40, False)])
def test_a_list_that_ends_soon_is_warned_of(made: Installation, days: int, warned: bool) -> None:
    offline(made)
    store = made.open_store()
    signer = LocalSigner(
        store, AuthorityKeys(made.keystore), made.addresses, lambda: clock.now() + timedelta(days=365 - days)
    )
    assert (Authority.ROOT in signer.find_ending_lists()) == warned
    store.close()


def test_a_damaged_root_key_keeps_no_other_list_from_being_made(made: Installation) -> None:
    find_root(made).write_bytes(b"damaged")
    store = made.open_store()
    later = LocalSigner(store, AuthorityKeys(made.keystore), made.addresses, lambda: clock.now() + timedelta(days=200))
    assert set(later.publish_revocations()) == set(Authority) - {Authority.ROOT}
    store.close()


def write_other(made: Installation) -> None:
    from evertunnel.pki.encrypted_keys import encrypt_private_key

    find_out(made).write_bytes(encrypt_private_key(generate_key(), PASSPHRASE, salt=bytes(16), iv=bytes(16)))


def test_another_key_is_neither_brought_nor_taken_for_it(made: Installation) -> None:
    write_other(made)
    before = find_root(made).read_bytes()
    with pytest.raises(InvalidInputError, match="is another key than that of this installation's root"):
        offline(made)
    assert find_root(made).read_bytes() == before
    find_root(made).unlink()
    with pytest.raises(InvalidInputError, match="is another key than that of this installation's root"):
        bring_online(made, find_out(made), PASSPHRASE, actor="ann")
    assert not find_root(made).exists()


def test_a_stored_key_that_is_another_one_is_not_taken_offline(made: Installation) -> None:
    find_root(made).write_bytes(encode_private_key(generate_key()))
    with pytest.raises(InvalidInputError, match="is another key"):
        offline(made)
    assert not find_out(made).exists() and find_root(made).exists()


@pytest.mark.parametrize(
    "content", [b"", b"precious", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_there_is_left_alone(made: Installation, content: bytes) -> None:
    find_out(made).write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"root-offline\.pem: it "):
        offline(made)
    assert find_out(made).read_bytes() == content and find_root(made).exists()


def test_a_place_that_stays_here_or_takes_nothing_is_refused(made: Installation) -> None:
    with pytest.raises(InvalidInputError, match="lies in the state folder"):
        take_offline(made, made.folder.path / "keys" / "x.pem", PASSPHRASE, actor="ann")
    with pytest.raises(UnavailableError, match="cannot be written: No such file"):
        take_offline(made, made.folder.path.parent / "none" / "x.pem", PASSPHRASE, actor="ann")
    with pytest.raises(InvalidInputError, match="12 characters"):
        take_offline(made, find_out(made), "short", actor="ann")
    assert find_root(made).exists()


def test_twice_is_told_and_the_wrong_passphrase_brings_nothing(made: Installation) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read: No such file"):
        bring_online(made, find_out(made), PASSPHRASE, actor="ann")
    offline(made)
    with pytest.raises(InvalidInputError, match="offline already"):
        offline(made)
    with pytest.raises(InvalidInputError, match="another passphrase"):
        bring_online(made, find_out(made), "another horse battery", actor="ann")
    bring_online(made, find_out(made), PASSPHRASE, actor="ann")
    with pytest.raises(InvalidInputError, match="online already"):
        bring_online(made, find_out(made), PASSPHRASE, actor="ann")


# Where the command dies: before the Nth call of a system call it makes.
DEATHS = [
    ("offline", name, number)
    for name, numbers in {"fsync": range(1, 5), "rename": (1,), "unlink": (1, 2), "open": range(1, 5)}.items()
    for number in numbers
] + [("online", name, number) for name, number in (("fsync", 1), ("fsync", 2), ("rename", 1), ("unlink", 1))]
DYING = """
import os, signal, sys
from pathlib import Path
from evertunnel.installation import Installation
from evertunnel.root_key import bring_online, take_offline
from evertunnel.state_folder import StateFolder
command, name, number, state, out, passphrase = sys.argv[1:]
made = Installation(StateFolder(Path(state)))
real, calls = getattr(os, name), 0
def die(*arguments, **options):
    global calls
    calls += 1
    if calls == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(os, name, die)
(take_offline if command == "offline" else bring_online)(made, Path(out), passphrase, actor="ann")
"""


@pytest.mark.parametrize(("command", "name", "number"), DEATHS)
def test_a_death_between_two_steps_loses_no_key(made: Installation, command: str, name: str, number: int) -> None:
    before = find_root(made).read_bytes()
    if command == "online":
        offline(made)
    arguments = (command, name, str(number), str(made.folder.path), str(find_out(made)), PASSPHRASE)
    done = subprocess.run([sys.executable, "-c", DYING, *arguments], capture_output=True, check=False, timeout=60)
    assert done.returncode in (0, -9), done.stderr
    here = find_root(made).exists() and find_root(made).read_bytes() == before
    there = find_out(made).exists() and (
        encode_private_key(decrypt_private_key(find_out(made).read_bytes(), PASSPHRASE)) == before
    )
    assert here or there
    # The same again comes to the end, whatever was done.
    try:
        offline(made) if command == "offline" else bring_online(made, find_out(made), PASSPHRASE, actor="ann")
    except InvalidInputError as error:
        assert "already" in str(error)  # noqa: PT017
    assert find_root(made).exists() == (command == "online")
    bring = decrypt_private_key(find_out(made).read_bytes(), PASSPHRASE)
    assert encode_private_key(bring) == before
