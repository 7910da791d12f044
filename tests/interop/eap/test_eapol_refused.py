"""The real eapol_test against a real `evertunnel serve`: who does not get in, each for a reason of its own."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel import clock
from evertunnel.model import Authority
from tests.interop.eap.conftest import ALICE, BOB, CAROL, PASSWORD, Live
from tests.interop.eap.eapol import TLS_11, TLS_12, TLS_13, Supplicant
from tests.peers.certificates import HOUR, SERVER, Credential, build_authority, build_leaf, build_stolen_pem


def assert_out(
    live: Live,
    supplicant: Supplicant,
    pem: bytes,
    reason: str,
    *,
    identity: str = BOB,
    user: str | None = BOB,
    alert: str,
    **options: Any,
) -> None:
    """Refused in TLS 1.2 and 1.3, without keys, recorded with its reason; `alert` is what eapol_test read of it."""
    for version in (TLS_12, TLS_13):
        outcome = supplicant.log_in(pem, identity, **({"version": version} | options))
        assert not outcome.succeeded
        assert outcome.keys_that_match == 0
        assert outcome.alerts == {alert}
    for attempt in live.list_attempts(2):
        assert (attempt["outcome"], attempt["reason"]) == ("refused", reason)
        assert (attempt["user"], attempt["claimed_identity"]) == (user, identity)
        assert attempt["session_id"] is None


def find_id(live: Live, credential: Credential) -> str:
    serial = f"{credential.certificate.serial_number:x}"
    rows = json.loads(live.run("certificate", "list", "--json"))
    return str(next(row["id"] for row in rows if row["serial"] == serial))


def test_a_device_certificate(live: Live, supplicant: Supplicant) -> None:
    folder = live.files / "laptop1"
    pem = (folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes()
    identity = "laptop1.corp.example"
    assert_out(live, supplicant, pem, "certificate_wrong_kind", identity=identity, user=None, alert="unknown CA")
    authority = live.load_authority(Authority.DEVICE).certificate.public_bytes(Encoding.PEM)
    with_chain = pem + authority
    assert_out(live, supplicant, with_chain, "certificate_wrong_kind", identity=identity, user=None, alert="unknown CA")


def test_a_long_lived_certificate_where_the_short_lived_is_demanded(live: Live, supplicant: Supplicant) -> None:
    pem = live.issue("--user", ALICE).pem
    reason = "certificate_usage_demanded"
    assert_out(live, supplicant, pem, reason, identity=ALICE, user=ALICE, alert="access denied")


def test_an_expired_certificate(live: Live, supplicant: Supplicant) -> None:
    one_second = timedelta(seconds=1)
    short = live.issue("--user", BOB, days=one_second / timedelta(days=1))
    # Valid to the end of its last second.
    while clock.now() < short.certificate.not_valid_after_utc + one_second:
        time.sleep(0.05)
    assert_out(live, supplicant, short.pem, "certificate_expired", alert="certificate expired")


def test_a_revoked_certificate(live: Live, supplicant: Supplicant) -> None:
    credential = live.issue("--user", BOB)
    live.run("certificate", "revoke", find_id(live, credential), "--reason", "key compromise")
    assert_out(live, supplicant, credential.pem, "certificate_revoked", alert="certificate revoked")


def test_a_certificate_on_hold_by_denial_and_its_way_back(live: Live, supplicant: Supplicant) -> None:
    name = "dave@corp.example"
    live.run("user", "add", name, "--password", password=PASSWORD)
    live.run("group", "join", "Long-lived", "--user", name)
    pem = live.issue("--user", name).pem
    # There is no strongSwan to confirm it, so the command says so by its exit code.
    live.run("deny", "user", name, "--reason", "left", "--wait", "0", check=False)
    assert_out(live, supplicant, pem, "user_denied", identity=name, user=name, alert="certificate revoked")
    live.run("allow", "user", name)
    assert supplicant.log_in(pem, name).succeeded


def test_a_disabled_user(live: Live, supplicant: Supplicant) -> None:
    name = "erin@corp.example"
    live.run("user", "add", name, "--password", password=PASSWORD)
    pem = live.issue("--user", name).pem
    live.run("user", "change", name, "--disable")
    assert_out(live, supplicant, pem, "user_disabled", identity=name, user=name, alert="access denied")


def test_a_foreign_authority(live: Live, supplicant: Supplicant) -> None:
    pem = build_leaf(build_authority("Test Issuing CA 1"), BOB).pem
    assert_out(live, supplicant, pem, "certificate_foreign", user=None, alert="unknown CA")


def test_a_certificate_without_client_authentication(live: Live, supplicant: Supplicant) -> None:
    pem = build_leaf(live.load_authority(Authority.ISSUING), BOB, usages=SERVER).pem
    reason, alert = "certificate_without_usage", "unsupported certificate"
    assert_out(live, supplicant, pem, reason, user=None, alert=alert)


def test_somebody_elses_identity_before_a_good_certificate(live: Live, supplicant: Supplicant) -> None:
    pem = live.issue("--user", BOB).pem
    assert_out(live, supplicant, pem, "identity_mismatch", identity=ALICE, alert="access denied")


def test_a_user_whom_no_policy_grants(live: Live, supplicant: Supplicant) -> None:
    pem = live.issue("--user", CAROL).pem
    assert_out(live, supplicant, pem, "no_network_policy", identity=CAROL, user=CAROL, alert="access denied")


@pytest.mark.parametrize("authority", [Authority.ISSUING, Authority.ACCESS])
def test_a_signed_but_unknown_certificate(live: Live, supplicant: Supplicant, authority: Authority) -> None:
    pem = build_leaf(live.load_authority(authority), BOB, ends=HOUR).pem
    assert_out(live, supplicant, pem, "certificate_unknown", user=None, alert="access denied")


def test_a_stolen_certificate_without_its_key(live: Live, supplicant: Supplicant) -> None:
    pem = build_stolen_pem(live.issue("--user", BOB))
    assert_out(live, supplicant, pem, "key_not_proven", alert="decrypt error")


def test_a_short_lived_certificate_of_a_device_that_lost_compliance(live: Live, supplicant: Supplicant) -> None:
    pem = live.enrol()
    live.run("device", "report", "laptop1.corp.example", "--not-compliant")
    try:
        assert_out(live, supplicant, pem, "device_not_compliant", identity=ALICE, user=ALICE, alert="access denied")
    finally:
        live.run("device", "report", "laptop1.corp.example", "--compliant")
    assert supplicant.log_in(pem, ALICE).succeeded


def test_another_method(live: Live, supplicant: Supplicant) -> None:
    for method in ("PEAP", "TTLS", "MSCHAPV2", "MD5"):
        outcome = supplicant.log_in(None, BOB, method=method)
        assert not outcome.succeeded
        assert "EAP-Failure" in outcome.output
    assert {attempt["reason"] for attempt in live.list_attempts(4)} == {"method_refused"}


def test_tls_11(live: Live, supplicant: Supplicant) -> None:
    outcome = supplicant.log_in(live.issue("--user", BOB).pem, BOB, version=TLS_11)
    assert not outcome.succeeded
    assert outcome.alerts == {"protocol version"}
    (attempt,) = live.list_attempts(1)
    assert (attempt["reason"], attempt["detail"]) == ("tls_failed", "unsupported protocol")


def test_a_client_that_expects_another_server(live: Live, supplicant: Supplicant, tmp_path: Path) -> None:
    pem = live.issue("--user", BOB).pem
    foreign_root = tmp_path / "root.pem"
    foreign_root.write_bytes(build_authority("Elsewhere").certificate.public_bytes(Encoding.PEM))
    for options in ({"server_name": "vpn.example.test"}, {"root_file": foreign_root}):
        for version in (TLS_12, TLS_13):
            assert not supplicant.log_in(pem, BOB, version=version, **options).succeeded
    attempts = live.list_attempts(4)
    assert {attempt["reason"] for attempt in attempts} == {"tls_failed"}
    # What wpa_supplicant says to another name, and to another root.
    assert {attempt["detail"] for attempt in attempts} == {"tlsv1 alert internal error", "tlsv1 alert unknown ca"}
