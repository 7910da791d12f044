"""Keys on disk: whose they are, who may read them, and what happens when they are damaged."""

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.keystore import Keystore, SealingDescriptors
from tests.unit.pki.samples import make_key


@pytest.fixture
def keystore(tmp_path: Path) -> Iterator[Keystore]:
    previous = os.umask(0)  # what we make must not depend on whoever starts us
    keystore = Keystore(tmp_path)
    keystore.create(owners={"signer": os.getuid(), "radius": os.getuid()}, group=os.getgid())
    yield keystore
    os.umask(previous)


def find_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_keys_can_be_read_by_those_they_are_for(tmp_path: Path, keystore: Keystore) -> None:
    keystore.store_key("signer", "root", make_key())
    assert find_mode(tmp_path / "keys") == 0o750
    assert find_mode(tmp_path / "keys" / "signer") == 0o700
    assert find_mode(tmp_path / "keys" / "signer" / "root.pem") == 0o600
    assert find_mode(tmp_path / "keys" / "secrets.key") == 0o600
    assert find_mode(tmp_path / "keys" / "radius" / "secrets.key") == 0o600
    assert not (tmp_path / "keys" / "signer" / "secrets.key").exists()


def test_what_one_process_sealed_another_opens_and_one_without_the_key_does_not(keystore: Keystore) -> None:
    sealed = keystore.seal(b"secret", context="a")
    assert keystore.for_process("radius").unseal(sealed, context="a") == b"secret"
    with pytest.raises(UnavailableError, match=r"signer/secrets\.key cannot be read: No such file"):
        keystore.for_process("signer").unseal(sealed, context="a")


def test_an_installation_from_before_gets_its_copies_and_closes_the_key(tmp_path: Path, keystore: Keystore) -> None:
    (tmp_path / "keys" / "radius" / "secrets.key").unlink()
    (tmp_path / "keys" / "secrets.key").chmod(0o640)
    sealed = keystore.seal(b"secret", context="a")
    for _ in range(2):
        keystore.hand_out(owners={"signer": os.getuid(), "radius": os.getuid(), "gate": os.getuid()})
    assert find_mode(tmp_path / "keys" / "secrets.key") == 0o600
    for process in ("radius", "gate"):
        assert keystore.for_process(process).unseal(sealed, context="a") == b"secret"
        assert find_mode(tmp_path / "keys" / process) == 0o700
    assert not (tmp_path / "keys" / "signer" / "secrets.key").exists()


def test_the_key_for_sign_ins_opens_nothing_else(tmp_path: Path) -> None:
    keystore = Keystore(tmp_path)
    keystore.create(owners={"web-public": os.getuid(), "web-admin": os.getuid()}, group=os.getgid())
    sealed = keystore.seal(b"of a gateway", context="a")
    for_sign_in = keystore.for_process("web-admin").for_sign_in().seal(b"of a user", context="a")
    public = keystore.for_process("web-public")
    assert public.for_sign_in().unseal(for_sign_in, context="a") == b"of a user"
    assert keystore.for_sign_in().unseal(public.for_sign_in().seal(b"x", context="a"), context="a") == b"x"
    for opener, value in ((public.for_sign_in(), sealed), (keystore, for_sign_in)):
        with pytest.raises(UnavailableError, match="does not open"):
            opener.unseal(value, context="a")
    with pytest.raises(UnavailableError, match=r"web-public/secrets\.key cannot be read"):
        public.unseal(sealed, context="a")
    key = (tmp_path / "keys" / "secrets.key").read_bytes()
    path = tmp_path / "keys" / "web-public" / "sign-in.key"
    assert find_mode(path) == 0o600 and len(path.read_bytes()) == 32 and path.read_bytes() != key


def test_a_process_lets_go_of_keys_in_memory_that_are_not_its_own() -> None:
    for process, kept in (("signer", []), ("web-public", [False, True]), ("radius", [True, False])):
        opened = SealingDescriptors(os.memfd_create("a"), os.memfd_create("b"))
        Keystore(Path("/nowhere"), descriptors=opened).keep_keys_of(process)
        for descriptor, holds in zip((opened.sealing, opened.sign_in), kept or [False, False], strict=True):
            assert Path(f"/proc/self/fd/{descriptor}").exists() == holds
            if holds:
                os.close(descriptor)


def test_a_key_comes_back(keystore: Keystore) -> None:
    keystore.store_key("signer", "root", make_key("p384"))
    assert keystore.load_key("signer", "root").private_numbers() == make_key("p384").private_numbers()


def test_a_key_is_never_overwritten(keystore: Keystore) -> None:
    keystore.store_key("signer", "root", make_key())
    with pytest.raises(InvalidInputError, match="exists already"):
        keystore.store_key("signer", "root", make_key("p256", "another"))
    assert keystore.load_key("signer", "root").private_numbers() == make_key().private_numbers()


def test_a_key_is_not_written_through_a_link_somebody_laid(tmp_path: Path, keystore: Keystore) -> None:
    (tmp_path / "keys" / "radius" / "policy-server.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInputError):
        keystore.store_key("radius", "policy-server", make_key())
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_key_is_unavailable(keystore: Keystore) -> None:
    with pytest.raises(UnavailableError, match=r"signer/root\.pem cannot be read: No such file"):
        keystore.load_key("signer", "root")


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_unavailable_and_named(tmp_path: Path, keystore: Keystore, data: bytes) -> None:
    path = tmp_path / "keys" / "signer" / "root.pem"
    path.write_bytes(data)
    with pytest.raises(UnavailableError, match=r"signer/root\.pem is damaged"):
        keystore.load_key("signer", "root")


def test_half_a_key_is_not_left_when_writing_stops_in_the_middle(tmp_path: Path, keystore: Keystore) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(UnavailableError, match=r"root\.pem cannot be written: File too large"):
            keystore.store_key("signer", "root", make_key())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "keys" / "signer").iterdir()) == []
    keystore.store_key("signer", "root", make_key())


@given(secret=st.binary(max_size=100), context=st.text(max_size=20))
def test_a_sealed_secret_opens_under_its_own_context(
    tmp_path_factory: pytest.TempPathFactory, secret: bytes, context: str
) -> None:
    keystore = Keystore(tmp_path_factory.mktemp("state"))
    keystore.create(owners={}, group=os.getgid())
    sealed = keystore.seal(secret, context=context)
    assert keystore.unseal(sealed, context=context) == secret
    assert len(sealed) == len(secret) + 28
    with pytest.raises(UnavailableError):
        keystore.unseal(sealed, context=context + "x")


def test_the_same_secret_is_sealed_differently_each_time(keystore: Keystore) -> None:
    assert keystore.seal(b"secret", context="a") != keystore.seal(b"secret", context="a")


def test_a_changed_or_cut_off_sealed_value_does_not_open(keystore: Keystore) -> None:
    sealed = keystore.seal(b"secret", context="a")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(UnavailableError, match="does not open"):
            keystore.unseal(bytes(changed), context="a")
        with pytest.raises(UnavailableError, match="does not open"):
            keystore.unseal(sealed[:place], context="a")


def test_another_installations_key_does_not_open_it(tmp_path: Path, keystore: Keystore) -> None:
    other = Keystore(tmp_path / "keys")
    other.create(owners={}, group=os.getgid())
    with pytest.raises(UnavailableError, match=r"is keys/secrets\.key another one"):
        other.unseal(keystore.seal(b"secret", context="a"), context="a")


@pytest.mark.parametrize("data", [b"", b"x" * 16, b"x" * 31, b"x" * 33])
def test_a_damaged_sealing_key_is_told(tmp_path: Path, keystore: Keystore, data: bytes) -> None:
    (tmp_path / "keys" / "secrets.key").write_bytes(data)
    with pytest.raises(UnavailableError, match=r"secrets\.key is damaged"):
        keystore.seal(b"secret", context="a")


def test_no_secret_is_readable_in_what_is_sealed(keystore: Keystore) -> None:
    assert b"a RADIUS secret" not in keystore.seal(b"a RADIUS secret", context="a")
