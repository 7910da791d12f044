"""No way round on the device connection: only a granted device's own certificate brings it up."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel import clock
from evertunnel.connector.tunnel import TunnelPlan
from evertunnel.keystore import Keystore
from evertunnel.lab.lab import DEVICE, PASSWORD, PUBLIC_NAME, USER, wait_for
from evertunnel.lab.network import GATEWAY_ADDRESS
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.issuance import BACKDATE, Grant, PublicAddresses, build_certificate
from evertunnel.pki.keys import PublicKey, encode_private_key, encode_public_key, generate_key
from tests.lab.conftest import Bench

SHORT_LIVED_SCRIPT = """
import dataclasses, json, pathlib, sys
from evertunnel.connector.enrolment import load_device_identity, request_certificate
device = load_device_identity(pathlib.Path(sys.argv[2]))
issued = request_certificate(sys.argv[1], device, sys.argv[3], sys.argv[4], address=sys.argv[5])
print(json.dumps(dataclasses.asdict(issued)))
"""


def plan_with(bench: Bench, certificate_pem: str, key_pem: str, *chain_pem: str) -> TunnelPlan:
    return bench.device_plan(certificate_pem=certificate_pem, key_pem=key_pem, chain_pem=list(chain_pem))


def own_certificate(bench: Bench, process: str, key_name: str) -> tuple[str, str]:
    """Certificate and key of one of our own processes; the test is root and may read what thieves may not."""
    key = Keystore(bench.lab.state).load_key(process, key_name)
    for row in bench.rows("certificate", "list"):
        pem = str(json.loads(bench.run("certificate", "show", row["id"], "--json").stdout)["pem"])
        public_key = x509.load_pem_x509_certificate(pem.encode()).public_key()
        assert isinstance(public_key, PublicKey)
        if encode_public_key(public_key) == encode_public_key(key.public_key()):
            return pem, encode_private_key(key).decode()
    raise AssertionError(f"{process} has no certificate")


def forge(
    bench: Bench, *, signer: Authority | None, name: str = DEVICE, certificate_id: str | None = None
) -> TunnelPlan:
    """A certificate that says what the laptop's says; signed by a key of an attacker, or by a stolen CA key."""
    genuine = x509.load_pem_x509_certificate((bench.lab.folder / "laptop" / "certificate.pem").read_bytes())
    subject_id = genuine.subject.rfc4514_string().partition("2.5.4.5=")[2].partition(",")[0]
    key = generate_key("p256")
    issuer = x509.load_pem_x509_certificate(bench.authority_pem("device").encode())
    grant = Grant(
        certificate_id=certificate_id or subject_id,
        kind=CertificateKind.DEVICE,
        authority=Authority.DEVICE,
        serial=genuine.serial_number if certificate_id is None else x509.random_serial_number(),
        name=DEVICE,
        dns_names=(DEVICE,),
        public_key_der=encode_public_key(key.public_key()),
        not_before=clock.now() - BACKDATE,
        not_after=clock.now() + timedelta(days=1),
    )
    signing_key = Keystore(bench.lab.state).load_key("signer", "device") if signer else generate_key("p256")
    forged = build_certificate(grant, issuer=issuer, issuer_key=signing_key, addresses=PublicAddresses("http://x"))
    return plan_with(bench, forged.public_bytes(Encoding.PEM).decode(), encode_private_key(key).decode())


def test_a_granted_device_comes_up_and_is_known_by_its_certificate(bench: Bench) -> None:
    plan = bench.device_plan()
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    assert bench.sessions("device")[0]["device"] == DEVICE
    attempt = next(row for row in bench.attempts() if row["session_id"] == bench.sessions("device")[0]["id"])
    times = [
        step["at_ms"] for step in json.loads(bench.run("attempt", "show", attempt["id"], "--json").stdout)["steps"]
    ]
    assert times[0] == 0.0
    assert times[-1] == attempt["duration_ms"] > 0.5
    assert times == sorted(times)
    bench.down(plan, "device")


def test_a_users_certificate_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.run("certificate", "issue", "--user", USER, "--out", str(tmp_path))
    texts = [(tmp_path / name).read_text() for name in ("certificate.pem", "key.pem", "chain.pem")]
    plan = plan_with(bench, *texts)
    assert bench.reason_of(lambda: bench.refused(plan)) == "certificate_wrong_kind"


def test_a_short_lived_certificate_is_refused(bench: Bench) -> None:
    command = [sys.executable, "-c", SHORT_LIVED_SCRIPT, f"https://{PUBLIC_NAME}",
               str(bench.lab.folder / "laptop"), USER, PASSWORD, GATEWAY_ADDRESS]  # fmt: skip
    printed = subprocess.run(bench.lab.network.wrap("laptop", *command), capture_output=True, check=True).stdout
    issued = json.loads(printed)
    plan = plan_with(bench, issued["certificate_pem"], issued["key_pem"], *issued["chain_pem"])
    assert bench.reason_of(lambda: bench.refused(plan)) == "certificate_wrong_kind"


@pytest.mark.parametrize(("process", "key_name"), [("radius", "policy-server"), ("gateway", "gw1")])
def test_our_own_servers_certificates_are_refused(bench: Bench, process: str, key_name: str) -> None:
    plan = plan_with(bench, *own_certificate(bench, process, key_name), bench.authority_pem("issuing"))
    assert bench.reason_of(lambda: bench.refused(plan)) == "certificate_wrong_kind"


def test_a_device_certificate_with_the_wrong_key_is_refused(bench: Bench) -> None:
    """Same names, same serial, so the gate says good; but the gateway knows the genuine one by now."""
    bench.up(bench.device_plan())
    bench.down(bench.device_plan(), "device")
    plan = forge(bench, signer=None)
    assert bench.reason_of(lambda: bench.refused(plan)) == "key_not_proven"


def test_a_forged_device_certificate_is_refused(bench: Bench) -> None:
    vici = bench.gateway()
    vici.flush_certificates()
    vici.close()
    plan = forge(bench, signer=None)
    assert bench.reason_of(lambda: bench.refused(plan)) == "certificate_foreign"


def test_a_certificate_signed_with_a_stolen_device_authority_key_is_refused(bench: Bench) -> None:
    """It is on no record, so the gate does not know it, however genuine the signature."""
    plan = forge(bench, signer=Authority.DEVICE, certificate_id="0123456789abcdef")
    assert bench.reason_of(lambda: bench.refused(plan)) == "device_refused_at_gate"


def test_a_denied_device_is_refused_and_comes_up_again_when_allowed(bench: Bench) -> None:
    bench.run("deny", "device", DEVICE, "--reason", "test")
    assert bench.reason_of(lambda: bench.refused(bench.device_plan())) == "device_denied"
    bench.run("allow", "device", DEVICE)
    bench.up(bench.device_plan())
    wait_for("the session", lambda: bool(bench.sessions("device")))
    bench.down(bench.device_plan(), "device")


def test_a_disabled_device_is_refused(bench: Bench) -> None:
    bench.run("device", "change", DEVICE, "--disable")
    try:
        assert bench.reason_of(lambda: bench.refused(bench.device_plan())) == "device_disabled"
    finally:
        bench.run("device", "change", DEVICE, "--enable")


def test_a_device_that_no_policy_grants_is_refused(bench: Bench) -> None:
    bench.run("group", "leave", "VPN Devices", "--device", DEVICE)
    try:
        assert bench.reason_of(lambda: bench.refused(bench.device_plan())) == "no_network_policy"
    finally:
        bench.run("group", "join", "VPN Devices", "--device", DEVICE)


def test_a_revoked_device_certificate_is_refused(bench: Bench, tmp_path: Path) -> None:
    name = "laptop-revoked.corp.example"
    bench.run("device", "add", name)
    bench.run("group", "join", "VPN Devices", "--device", name)
    bench.lab.issue_device_certificate(name, tmp_path)
    plan = bench.lab.plan_device_tunnel(tmp_path)
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    certificate = next(row for row in bench.rows("certificate", "list") if row["name"] == name)
    bench.run("certificate", "revoke", certificate["id"])
    wait_for("the end of the live tunnel", lambda: not bench.sessions("device"))
    bench.forget_credentials()
    assert bench.reason_of(lambda: bench.refused(plan)) == "certificate_revoked"


@pytest.mark.parametrize("claim", ["CN=*, serialNumber=*", DEVICE])
def test_a_device_that_claims_another_form_of_its_name_is_cut(bench: Bench, claim: str) -> None:
    """charon lets a peer claim whatever its certificate matches, wildcards included; we want the exact subject."""
    plan = bench.device_plan(claimed_identity=claim)

    assert bench.reason_of(lambda: bench.refused(plan)) == "tunnel_not_recognised"
    assert not bench.sessions("device")
