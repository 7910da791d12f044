"""A key under a passphrase: OpenSSL reads what we write, and nothing else opens it."""

import os
import subprocess
from pathlib import Path

import pytest

from evertunnel.errors import InvalidInputError
from evertunnel.pki.encrypted_keys import decrypt_private_key, encrypt_private_key
from evertunnel.pki.keys import KEY_TYPES, encode_private_key
from tests.unit.pki.samples import make_key

PASSPHRASE = "correct hörse battery"


def encrypt(key_type: str = "p256", passphrase: str = PASSPHRASE) -> bytes:
    return encrypt_private_key(make_key(key_type), passphrase, salt=os.urandom(16), iv=os.urandom(16))


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_what_is_written_opens_here_and_with_openssl(tmp_path: Path, key_type: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(encrypt(key_type))
    wanted = encode_private_key(make_key(key_type))
    assert encode_private_key(decrypt_private_key(path.read_bytes(), PASSPHRASE)) == wanted
    done = subprocess.run(
        ["openssl", "pkey", "-in", path, "-passin", f"pass:{PASSPHRASE}"], capture_output=True, check=True
    )
    assert done.stdout == wanted
    assert b"scrypt" in subprocess.run(["openssl", "asn1parse", "-in", path], capture_output=True, check=True).stdout


@pytest.mark.parametrize("passphrase", ["", "short", "eleven char"])
def test_a_passphrase_that_is_found_by_trying_is_refused(passphrase: str) -> None:
    with pytest.raises(InvalidInputError, match="12 characters"):
        encrypt(passphrase=passphrase)


@pytest.mark.parametrize("cut", [0, 30, 100, -40])
def test_what_is_cut_off_does_not_open(cut: int) -> None:
    with pytest.raises(InvalidInputError, match="does not open"):
        decrypt_private_key(encrypt()[:cut], PASSPHRASE)


def test_another_passphrase_does_not_open_it() -> None:
    with pytest.raises(InvalidInputError, match="another passphrase"):
        decrypt_private_key(encrypt(), PASSPHRASE + " ")


def test_a_key_without_passphrase_is_no_offline_key() -> None:
    with pytest.raises(InvalidInputError, match="not encrypted"):
        decrypt_private_key(encode_private_key(make_key()), PASSPHRASE)


def test_the_same_key_is_never_written_twice_the_same() -> None:
    assert encrypt() != encrypt()
