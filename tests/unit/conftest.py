"""Settings for tests of parts."""

import secrets

import pytest
from argon2 import PasswordHasher

from evertunnel import passwords

_QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
_NOBODY = _QUICK.hash(secrets.token_hex())


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2id for less than a thousandth: hundreds of sign-ins would cost minutes. Real servers ask it whole."""
    monkeypatch.setattr(passwords, "_HASHER", _QUICK)
    monkeypatch.setattr(passwords, "_NOBODY", _NOBODY)
