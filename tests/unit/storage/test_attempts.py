"""Attempts as they are read: by name, outcome and reason, and by the beginning of an id."""

from datetime import timedelta
from typing import Any

import pytest

from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import Attempt, AttemptKind, Outcome, Reason
from evertunnel.storage import attempts
from tests.installation import BEGINNING, Installation


def record(installation: Installation, attempt_id: str, **columns: Any) -> None:
    values = {
        "at": BEGINNING, "kind": AttemptKind.USER_TUNNEL, "outcome": Outcome.REFUSED, "reason": Reason.USER_DENIED,
    }  # fmt: skip
    with installation.store.write(installation.now) as tx:
        tx.record_attempt(Attempt(id=attempt_id, **values | columns))


def list_ids(installation: Installation, **filters: Any) -> list[str]:
    with installation.store.read() as connection:
        return [row.id for row in attempts.list_attempts(connection, **{"limit": 10} | filters)]


@pytest.fixture
def filled(installation: Installation) -> Installation:
    user_id, device_id = installation.add_user(), installation.add_device()
    record(installation, "aa1", user_id=user_id)
    record(installation, "aa2", at=BEGINNING + timedelta(seconds=1), device_id=device_id, outcome=Outcome.GRANTED,
           reason=Reason.GRANTED)  # fmt: skip
    record(installation, "b%1", at=BEGINNING + timedelta(seconds=2), user_id="gone")
    return installation


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, ["b%1", "aa2", "aa1"]),
        ({"limit": 1}, ["b%1"]),
        ({"user": "ALICE@corp.example"}, ["aa1"]),
        ({"user": "nobody@corp.example"}, []),
        ({"device": "laptop1.corp.example"}, ["aa2"]),
        ({"outcome": "granted"}, ["aa2"]),
        ({"reason": "user_denied"}, ["b%1", "aa1"]),
        ({"reason": "user_denied", "user": "alice@corp.example"}, ["aa1"]),
        ({"outcome": "' OR 1=1"}, []),
    ],
)
def test_attempts_are_listed_newest_first_and_filtered(
    filled: Installation, filters: dict[str, Any], ids: list[str]
) -> None:
    assert list_ids(filled, **filters) == ids


def test_the_beginning_of_an_id_is_enough_when_it_is_unique(filled: Installation) -> None:
    with filled.store.read() as connection:
        assert attempts.get_attempt(connection, "aa1").user_name == "alice@corp.example"
        assert attempts.get_attempt(connection, "b").id == "b%1"
        with pytest.raises(InvalidInputError, match="several attempts begin with 'aa'"):
            attempts.get_attempt(connection, "aa")


@pytest.mark.parametrize("text", ["", "c", "%", "_", "a_1", "aa%", "\\", "aa11"])
def test_nothing_else_finds_an_attempt(filled: Installation, text: str) -> None:
    with filled.store.read() as connection, pytest.raises(NotFoundError, match="evertunnel attempt list"):
        attempts.get_attempt(connection, text)


def test_a_percent_sign_is_itself(filled: Installation) -> None:
    with filled.store.read() as connection:
        assert attempts.get_attempt(connection, "b%").id == "b%1"
