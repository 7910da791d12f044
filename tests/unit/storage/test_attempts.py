"""Attempts as they are read: by name, outcome and reason, and by the beginning of an id."""

from datetime import timedelta
from typing import Any

import pytest

from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import Attempt, AttemptKind, Outcome, Reason
from evertunnel.storage import attempts
from evertunnel.storage.attempts import Wanted
from tests.installation import BEGINNING, Installation


def record(installation: Installation, attempt_id: str, **columns: Any) -> None:
    values = {
        "at": BEGINNING, "kind": AttemptKind.USER_TUNNEL, "outcome": Outcome.REFUSED, "reason": Reason.USER_DENIED,
    }  # fmt: skip
    with installation.store.write(installation.now) as tx:
        tx.record_attempt(Attempt(id=attempt_id, **values | columns))


def list_ids(
    installation: Installation,
    *,
    limit: int = 10,
    after: str | None = None,
    oldest_first: bool = False,
    **filters: Any,
) -> list[str]:
    with installation.store.read() as connection:
        rows = attempts.list_attempts(
            connection, Wanted(**filters), limit=limit, after=after, oldest_first=oldest_first
        )
    return [row.id for row in rows]


def follow(installation: Installation, after: str | None, *, limit: int = 10, **filters: Any) -> tuple[list[str], str]:
    with installation.store.read() as connection:
        rows, place = attempts.list_committed(connection, Wanted(**filters), after=after, limit=limit)
    return [row.id for row in rows], place


@pytest.fixture
def filled(installation: Installation) -> Installation:
    installation.add_user()
    record(installation, "aa1", user_id="u1", login={"method": "peap-eap-tls", "rounds": []})
    record(installation, "aa2", at=BEGINNING + timedelta(seconds=1), device_id="d1", outcome=Outcome.GRANTED,
           reason=Reason.GRANTED, kind=AttemptKind.DEVICE_TUNNEL)  # fmt: skip
    record(installation, "b%1", at=BEGINNING + timedelta(seconds=2), user_id="gone", gateway_id="g1")
    record(installation, "c1", at=BEGINNING + timedelta(seconds=2), kind=AttemptKind.CERTIFICATE, methods=("password",),
           detail='"login":{"method":"peap-eap-mschapv2"')  # fmt: skip
    return installation


ALL = ["c1", "b%1", "aa2", "aa1"]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, ALL),
        ({"limit": 1}, ALL[:1]),
        ({"oldest_first": True}, ALL[::-1]),
        ({"user_id": "u1"}, ["aa1"]),
        ({"user_id": "nobody"}, []),
        ({"device_id": "d1"}, ["aa2"]),
        ({"gateway_id": "g1"}, ["b%1"]),
        ({"outcome": Outcome.GRANTED}, ["aa2"]),
        ({"reason": Reason.USER_DENIED}, ["c1", "b%1", "aa1"]),
        ({"reason": Reason.USER_DENIED, "user_id": "u1"}, ["aa1"]),
        ({"kind": AttemptKind.CERTIFICATE}, ["c1"]),
        ({"since": BEGINNING + timedelta(seconds=1)}, ["c1", "b%1", "aa2"]),
        ({"until": BEGINNING + timedelta(seconds=1)}, ["aa1"]),
        ({"since": BEGINNING + timedelta(seconds=1), "until": BEGINNING + timedelta(seconds=2)}, ["aa2"]),
        ({"method": "peap-eap-tls"}, ["aa1"]),
        ({"method": "peap-eap-mschapv2"}, []),
        ({"method": "eap-tls"}, ["b%1"]),
        ({"method": "password"}, ["c1"]),
        ({"method": "totp"}, []),
        ({"method": "machine-certificate"}, ["aa2"]),
    ],
)
def test_attempts_are_listed_newest_first_and_filtered(
    filled: Installation, filters: dict[str, Any], ids: list[str]
) -> None:
    assert list_ids(filled, **filters) == ids


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_follow_one_another_without_a_gap(filled: Installation, oldest_first: bool) -> None:
    found: list[str] = []
    while page := list_ids(filled, limit=1, after=found[-1] if found else None, oldest_first=oldest_first):
        found += page
    assert found == (ALL[::-1] if oldest_first else ALL)


def test_a_page_behind_what_is_not_there_is_refused(filled: Installation) -> None:
    with pytest.raises(NotFoundError, match="no attempt 'nonsense' to go on from"):
        list_ids(filled, after="nonsense")


def test_who_follows_is_told_in_the_order_of_commits(installation: Installation) -> None:
    record(installation, "0a")
    found, place = follow(installation, None)
    assert found == []
    record(installation, "0b", at=BEGINNING - timedelta(hours=1))
    with installation.store.write(installation.now) as tx:
        for attempt_id in ("0d", "0c"):
            tx.record_attempt(
                Attempt(attempt_id, BEGINNING, AttemptKind.USER_TUNNEL, Outcome.REFUSED, Reason.USER_DENIED)
            )
    told: list[str] = []
    for _ in range(3):  # a page may end within a commit
        found, place = follow(installation, place, limit=1)
        told += found
    assert told == ["0b", "0c", "0d"]
    assert follow(installation, place) == ([], follow(installation, None)[1])


def test_who_follows_with_a_filter_goes_on_behind_what_does_not_match(installation: Installation) -> None:
    _, place = follow(installation, None)
    record(installation, "0a")
    found, place = follow(installation, place, outcome=Outcome.GRANTED)
    assert found == []
    assert place == follow(installation, None)[1]


def test_a_place_of_a_database_that_is_gone_is_begun_anew(filled: Installation) -> None:
    assert follow(filled, "999999") == ([], follow(filled, None)[1])


@pytest.mark.parametrize("place", ["", "x", "-1", "1/", "1/%", "1/x'", "٣", "1" * 40])
def test_a_place_that_is_none_is_refused(filled: Installation, place: str) -> None:
    with pytest.raises(InvalidInputError, match="names no place"):
        follow(filled, place)


def test_the_beginning_of_an_id_is_enough_when_it_is_unique(filled: Installation) -> None:
    with filled.store.read() as connection:
        assert attempts.get_attempt(connection, "aa1").id == "aa1"
        assert attempts.get_attempt(connection, "b").id == "b%1"
        with pytest.raises(InvalidInputError, match="several attempts begin with 'aa'"):
            attempts.get_attempt(connection, "aa")


@pytest.mark.parametrize("text", ["", "d", "%", "_", "a_1", "aa%", "\\", "aa11", "b%"])
def test_nothing_else_finds_an_attempt(filled: Installation, text: str) -> None:
    with filled.store.read() as connection, pytest.raises(NotFoundError, match="evertunnel attempt list"):
        attempts.get_attempt(connection, text)


def test_a_percent_sign_is_itself(filled: Installation) -> None:
    with filled.store.read() as connection:
        assert attempts.get_attempt(connection, "b%1").id == "b%1"
