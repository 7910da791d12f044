"""A key in two places, end to end: eapol_test logs in from both, two workers decide, and the next login is refused."""

import json
from collections.abc import Iterator

import pytest

from tests.interop.eap.conftest import BOB, Live
from tests.interop.eap.eapol import Supplicant
from tests.interop.server import wait_for
from tests.unit.access.samples import make_document

BERLIN, SYDNEY = "192.0.2.7[4500]", "203.0.113.9[4500]"


@pytest.fixture
def blocked(live: Live) -> Iterator[None]:
    """A policy blocks Bob's sign-ins of high risk."""
    document = make_document("block", name="Travel", users={"includeUsers": [BOB]})
    document["conditions"]["signInRiskLevels"] = ["high"]
    (live.files / "travel.json").write_text(json.dumps(document), encoding="utf-8")
    assert "cannot be evaluated" not in live.run("policy", "access", "import", "--cut", str(live.files / "travel.json"))
    yield
    live.run("policy", "access", "remove", "Travel")


def list_risks(live: Live) -> list[str]:
    return [row["value"] for row in json.loads(live.run("user", "risk", BOB, "--json"))]


@pytest.mark.usefixtures("blocked")
def test_a_key_in_two_places_is_refused_until_it_is_dismissed(live: Live, supplicant: Supplicant) -> None:
    pem = live.issue("--user", BOB).pem
    assert supplicant.log_in(pem, BOB, address=BERLIN).succeeded
    assert supplicant.log_in(pem, BOB, address=SYDNEY).succeeded
    wait_for(lambda: list_risks(live) == ["high"])
    for _both_workers in range(3):
        assert not supplicant.log_in(pem, BOB, address=BERLIN).succeeded
    (attempt,) = live.list_attempts(1)
    assert attempt["reason"] == "blocked_by_access_policy"
    live.run("user", "dismiss-risk", BOB, "--reason", "a test")
    assert list_risks(live) == ["none"]
    assert supplicant.log_in(pem, BOB, address=BERLIN).succeeded
