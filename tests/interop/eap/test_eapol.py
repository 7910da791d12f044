"""The real eapol_test against a real `evertunnel serve`: who gets in."""

import pytest

from tests.interop.eap.conftest import ALICE, BOB, DEVICE, Live
from tests.interop.eap.eapol import TLS_12, TLS_13, Outcome, Supplicant
from tests.peers.certificates import new_key

VERSIONS = pytest.mark.parametrize(
    ("version", "name"), [(TLS_12, "TLSv1.2"), (TLS_13, "TLSv1.3")], ids=["tls12", "tls13"]
)


def assert_in(outcome: Outcome, version: str, *, logins: int = 1) -> None:
    assert outcome.succeeded, outcome.output[-3_000:]
    assert (outcome.keys_that_match, outcome.keys_that_differ) == (logins, 0)
    assert outcome.versions == {version}


@pytest.fixture(scope="module")
def bob_pem(live: Live) -> bytes:
    return live.issue("--user", BOB).pem


@VERSIONS
def test_a_short_lived_certificate_gets_in(live: Live, supplicant: Supplicant, version: str, name: str) -> None:
    assert_in(supplicant.log_in(live.enrol(), ALICE, version=version), name)
    (attempt,) = live.list_attempts(1)
    assert (attempt["outcome"], attempt["reason"]) == ("granted", "granted")
    assert (attempt["user"], attempt["device"], attempt["gateway"]) == (ALICE, DEVICE, "gw1")


@VERSIONS
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048", "rsa3072"])
def test_keys_of_every_kind_get_in(live: Live, supplicant: Supplicant, kind: str, version: str, name: str) -> None:
    pem = live.issue("--user", BOB, key=new_key(kind)).pem
    assert_in(supplicant.log_in(pem, BOB, version=version), name)


@VERSIONS
@pytest.mark.parametrize("fragment_bytes", [100, 300, 1_398])
def test_small_fragments_get_in(
    supplicant: Supplicant, bob_pem: bytes, fragment_bytes: int, version: str, name: str
) -> None:
    assert_in(supplicant.log_in(bob_pem, BOB, version=version, fragment_bytes=fragment_bytes), name)


@VERSIONS
def test_an_anonymous_identity_gets_in_as_its_certificates_owner(
    live: Live, supplicant: Supplicant, bob_pem: bytes, version: str, name: str
) -> None:
    assert_in(supplicant.log_in(bob_pem, "anonymous@corp.example", version=version), name)
    (attempt,) = live.list_attempts(1)
    assert (attempt["user"], attempt["claimed_identity"]) == (BOB, "anonymous@corp.example")


@VERSIONS
@pytest.mark.parametrize("resumes", [True, False], ids=["resuming", "full"])
def test_logging_in_again(
    live: Live, supplicant: Supplicant, bob_pem: bytes, version: str, name: str, resumes: bool
) -> None:
    """Each time is a login of its own, with keys of its own, whether or not it goes on with a session."""
    options = f"tls_disable_session_ticket={0 if resumes else 1}"
    outcome = supplicant.log_in(bob_pem, BOB, version=version, again=3, outer_options=options, fast_reauth=resumes)
    assert_in(outcome, name, logins=4)
    assert list(dict.fromkeys(outcome.resumed)) == (["0", "1"] if resumes else ["0"])
    attempts = live.list_attempts(4)
    assert len({attempt["session_id"] for attempt in attempts}) == 4
    stories = [live.run("attempt", "show", attempt["id"]) for attempt in reversed(attempts)]
    assert ["resumed a session" in story for story in stories] == [False, *[resumes] * 3]
