"""Certificates as the API lists them: who has hourly ones has soon more than anybody reads."""

from typing import Any

import pytest

from evertunnel.actions.revoke_certificate import revoke_certificate
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.web.api.clients import build_client

BOB = "bob@corp.example"


@pytest.fixture
def issued(installation: Installation) -> dict[str, str]:
    """Ids by what they are, the oldest first."""
    alice, bob, laptop = installation.add_user(), installation.add_user(BOB), installation.add_device()
    made = {"laptop": installation.issue_device(laptop)}
    for name, user, text in (("alice", alice, ALICE), ("bob", bob, BOB), ("revoked", alice, ALICE)):
        installation.clock.forward(minutes=1)
        made[name] = installation.issue_user(user, name=text)
    installation.do(revoke_certificate, made["revoked"], reason="superseded")
    return made


def ask(installation: Installation, **query: Any) -> Any:
    with build_client(installation) as client:
        return client.get("/v1/certificates", params=query)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["revoked", "bob", "alice", "laptop"]),
        ({"limit": 2}, ["revoked", "bob"]),
        ({"user": ALICE.upper()}, ["revoked", "alice"]),
        ({"user": ALICE, "valid": True}, ["alice"]),
        ({"device": LAPTOP}, ["laptop"]),
        ({"kind": "user", "valid": True}, ["bob", "alice"]),
        ({"kind": "device", "user": ALICE}, []),
    ],
)
def test_those_that_are_asked_for_are_listed(
    installation: Installation, issued: dict[str, str], query: dict[str, Any], found: list[str]
) -> None:
    names = {certificate_id: name for name, certificate_id in issued.items()}
    listed = [names.get(row["id"]) for row in ask(installation, **query).json()]
    assert [name for name in listed if name] == found


def test_what_is_over_is_not_valid(installation: Installation, issued: dict[str, str]) -> None:
    assert issued
    (row,) = ask(installation, device=LAPTOP, valid=True).json()
    assert row["id"] == issued["laptop"]
    installation.clock.forward(days=4_000)
    assert ask(installation, device=LAPTOP, valid=True).json() == []


@pytest.mark.parametrize(
    ("query", "status"), [({"user": "nobody@corp.example"}, 404), ({"kind": "x"}, 422), ({"limit": 0}, 422)]
)
def test_what_cannot_be_is_refused(installation: Installation, query: dict[str, Any], status: int) -> None:
    assert ask(installation, **query).status_code == status
