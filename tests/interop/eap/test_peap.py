"""The real eapol_test with PEAP and EAP-MSCHAPv2 against a real `evertunnel serve`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.eap.conftest import BOB, CAROL, PASSWORD, Live
from tests.interop.eap.eapol import TLS_12, TLS_13, Outcome, Supplicant
from tests.interop.eap.test_eapol import VERSIONS, assert_in
from tests.interop.server import wait_for

DAVE = "walter@corp.example"
SILENT_SECONDS = 5


@pytest.fixture(scope="module")
def weak(live: Live) -> Iterator[Live]:
    """MS-CHAPv2 is on, and dave may use it; afterwards all is as it was for the others."""
    live.run("policy", "mschapv2", "--on", "--accept-weakness")
    live.run("user", "add", DAVE, "--password", password=PASSWORD)
    methods = ["--method", "peap-eap-mschapv2", "--method", "eap-mschapv2"]
    live.run("policy", "network", "add", "Weak", "--grant", "--tunnel", "user", "--user", DAVE, *methods)
    yield live
    live.run("policy", "network", "remove", "Weak", "--cut")
    live.run("policy", "mschapv2", "--off", "--cut")


@pytest.fixture(scope="module")
def bob_pem(weak: Live) -> bytes:
    return weak.issue("--user", BOB).pem


@pytest.fixture
def client(weak: Live, tmp_path: Path) -> Supplicant:
    return Supplicant(port=weak.ports["radius"], secret=weak.secret, root_file=weak.root_file, folder=tmp_path)


def get_attempt(live: Live) -> dict[str, Any]:
    (attempt,) = live.list_attempts(1)
    return attempt


def list_steps(live: Live, attempt: dict[str, Any]) -> list[str]:
    return [step["text"] for step in json.loads(live.run("attempt", "show", attempt["id"], "--json"))["steps"]]


@VERSIONS
@pytest.mark.parametrize("fragment_bytes", [150, 1_398])
def test_peap_with_a_certificate_inside_gets_in(
    weak: Live, client: Supplicant, bob_pem: bytes, version: str, name: str, fragment_bytes: int
) -> None:
    outcome = client.log_in(
        bob_pem, BOB, version=version, method="PEAP", inner="TLS", anonymous="anonymous@corp.example",
        outer_options="crypto_binding=2 peapver=0", inner_options=version, fragment_bytes=fragment_bytes,
        framed_mtu=150,
    )  # fmt: skip
    assert_in(outcome, name)
    attempt = get_attempt(weak)
    assert (attempt["outcome"], attempt["user"]) == ("granted", BOB)
    words = list_steps(weak, attempt)
    assert "the inner method is bound to the tunnel" in words
    assert f"{name}: the tunnel is up" in words


@VERSIONS
@pytest.mark.parametrize("identity", [DAVE, "CORP\\walter"])
def test_peap_with_a_password_inside_gets_in(
    weak: Live, client: Supplicant, version: str, name: str, identity: str
) -> None:
    outcome = client.log_in(
        None, identity, version=version, method="PEAP", inner="MSCHAPV2", password=PASSWORD,
        outer_options="crypto_binding=2",
    )  # fmt: skip
    assert_in(outcome, name)
    assert get_attempt(weak)["user"] == DAVE


def test_eap_mschapv2_alone_gets_in(weak: Live, client: Supplicant) -> None:
    outcome = client.log_in(None, DAVE, method="MSCHAPV2", password=PASSWORD)
    assert outcome.succeeded, outcome.output[-3_000:]
    assert (outcome.keys_that_match, outcome.keys_that_differ) == (1, 0)


def assert_out(live: Live, outcome: Outcome, reason: str) -> dict[str, Any]:
    assert not outcome.succeeded
    assert "EAP: Received EAP-Failure" in outcome.output, outcome.output[-3_000:]
    wait_for(lambda: get_attempt(live)["reason"] == reason)
    return get_attempt(live)


@VERSIONS
def test_without_crypto_binding_nobody_gets_in(
    weak: Live, client: Supplicant, bob_pem: bytes, version: str, name: str
) -> None:
    del name
    outcome = client.log_in(
        bob_pem,
        BOB,
        version=version,
        method="PEAP",
        inner="TLS",
        outer_options="crypto_binding=0",
        inner_options=version,
    )
    assert assert_out(weak, outcome, "crypto_binding_missing")["nps_reason_code"] == 302


@VERSIONS
def test_a_revoked_certificate_inside_is_told_so(weak: Live, client: Supplicant, version: str, name: str) -> None:
    del name
    credential = weak.issue("--user", BOB)
    serial = f"{credential.certificate.serial_number:x}"
    weak.run("certificate", "revoke", serial, "--reason", "superseded")
    outcome = client.log_in(
        credential.pem, BOB, version=version, method="PEAP", inner="TLS", outer_options="crypto_binding=2",
        inner_options=version, seconds=SILENT_SECONDS,
    )  # fmt: skip
    # This client is silent after a refusal inside; the record says why it was refused once it was waited for.
    assert not outcome.succeeded
    assert outcome.alerts == {"certificate revoked"}


def test_whom_no_policy_grants_is_told_inside(weak: Live, client: Supplicant) -> None:
    pem = weak.issue("--user", CAROL).pem
    outcome = client.log_in(pem, CAROL, method="PEAP", inner="TLS", inner_options=TLS_13, seconds=SILENT_SECONDS)
    assert not outcome.succeeded
    assert outcome.alerts == {"access denied"}


@pytest.mark.parametrize("method", ["PEAP", "MSCHAPV2"])
def test_a_wrong_password_is_told_as_such(weak: Live, client: Supplicant, method: str) -> None:
    no_more = "mschapv2_retry=0"
    outcome = client.log_in(
        None, DAVE, version=TLS_12, method=method, password="wrong", inner="MSCHAPV2" if method == "PEAP" else "",
        inner_options=no_more, more=() if method == "PEAP" else (f'phase2="{no_more}"',),
    )  # fmt: skip
    assert assert_out(weak, outcome, "password_wrong")["nps_reason_code"] == 16
    assert "error 691" in outcome.output
