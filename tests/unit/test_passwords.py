"""Passwords: kept so that they cannot be read, checked so that nobody learns who exists."""

import time

import pytest

from evertunnel import passwords
from evertunnel.errors import InvalidInputError
from evertunnel.passwords import check_password, hash_password

STORED = hash_password("correct horse")


@pytest.fixture
def quick_passwords() -> None:
    """None here: these tests are about the price."""


def test_the_right_password_is_right_and_others_are_not() -> None:
    assert check_password(STORED, "correct horse")
    for wrong in ("", "correct hors", "correct horse ", "Correct horse", "correct horse\x00"):
        assert not check_password(STORED, wrong)


def test_what_is_kept_is_argon2id_with_a_salt_of_its_own() -> None:
    assert STORED.startswith("$argon2id$v=19$m=65536,t=3,p=2$")
    assert hash_password("correct horse") != STORED


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
def test_a_password_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(InvalidInputError, match="8 to 1,024"):
        hash_password(password)


def test_a_password_of_the_greatest_length_is_right_and_a_longer_one_is_not() -> None:
    stored = hash_password("x" * 1024)
    assert check_password(stored, "x" * 1024)
    assert not check_password(stored, "x" * 1025)


def test_nobody_has_a_password() -> None:
    assert not check_password(None, "correct horse")
    assert not check_password(None, "")


def test_nobody_costs_what_everybody_costs() -> None:
    assert passwords._HASHER.check_needs_rehash(passwords._NOBODY) is False


@pytest.mark.parametrize(
    "stored", ["", "plain", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", pytest.param(STORED[:-10], id="cut")]
)
def test_a_damaged_hash_is_never_right(stored: str) -> None:
    assert not check_password(stored, "correct horse")


def test_a_user_without_password_costs_as_much_as_one_with() -> None:
    check_password(None, "warm up")

    def measure(stored: str | None) -> float:
        began = time.process_time()
        for _ in range(3):
            check_password(stored, "wrong password")
        return time.process_time() - began

    assert 0.5 < measure(None) / measure(STORED) < 2
