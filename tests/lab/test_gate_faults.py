"""The gateway takes nothing but a fresh `good` from the gate: every other answer, and none, refuses the device."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from evertunnel import clock
from evertunnel.gateways.strongswan import DEVICE_AUTHORITY
from evertunnel.keystore import Keystore
from evertunnel.lab.lab import DEVICE, wait_for
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.issuance import BACKDATE, Grant, PublicAddresses, build_certificate
from evertunnel.pki.keys import PrivateKey, encode_public_key, generate_key
from evertunnel.pki.revocation import CertificateState, Responder, build_revocation_list
from tests.lab.conftest import Bench

STUB_PORT = 8119


@contextmanager
def gate_at(bench: Bench, url: str) -> Iterator[None]:
    """The gateway asks somewhere else; what it remembers is flushed before and after.

    Our gateway process would load the gate's own address again at its next look, so it is halted meanwhile.
    """
    vici = bench.gateway()
    pem = bench.authority_pem("device")
    with bench.gateway_process_halted():
        vici.flush_certificates()
        vici.load_authority(DEVICE_AUTHORITY, {"cacert": pem, "ocsp_uris": [url]})
        try:
            yield
        finally:
            vici.load_authority(DEVICE_AUTHORITY, {"cacert": pem, "ocsp_uris": [bench.gate_url()]})
            vici.flush_certificates()
            vici.close()


def try_with_gate_at(bench: Bench, url: str) -> None:
    with gate_at(bench, url):
        bench.refused(bench.device_plan())


def try_with_stub(bench: Bench, mode: str, answer: Path | None = None) -> None:
    with stub(bench, mode, answer):
        bench.refused(bench.device_plan())


@contextmanager
def stub(bench: Bench, mode: str, answer: Path | None = None) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.lab.gate_stub", str(STUB_PORT), mode, *([str(answer)] if answer else [])]
    process = subprocess.Popen(bench.lab.network.wrap("gateway", *command))
    try:
        probe = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{STUB_PORT}"]
        wait_for(
            "the stub",
            lambda: subprocess.run(bench.lab.network.wrap("gateway", *probe), capture_output=True).returncode == 0,
        )
        with gate_at(bench, f"http://127.0.0.1:{STUB_PORT}/x"):
            yield
    finally:
        process.kill()
        process.wait()


def build_answer(bench: Bench, signer_key: PrivateKey, *, stale: timedelta = timedelta(0)) -> bytes:
    """A `good` for the laptop's certificate by a responder whose certificate `signer_key` signed."""
    issuer = x509.load_pem_x509_certificate(bench.authority_pem("device").encode())
    laptop = x509.load_pem_x509_certificate((bench.lab.folder / "laptop" / "certificate.pem").read_bytes())
    key = generate_key("p256")
    grant = Grant(
        certificate_id="0" * 16,
        kind=CertificateKind.OCSP_SIGNER,
        authority=Authority.DEVICE,
        serial=x509.random_serial_number(),
        name="Evertunnel gate",
        dns_names=(),
        public_key_der=encode_public_key(key.public_key()),
        not_before=clock.now() - BACKDATE,
        not_after=clock.now() + timedelta(hours=1),
    )
    signer = build_certificate(grant, issuer=issuer, issuer_key=signer_key, addresses=PublicAddresses("http://x"))
    request = ocsp.OCSPRequestBuilder().add_certificate(laptop, issuer, hashes.SHA1()).build()
    now = clock.now() - stale
    return Responder(issuer, signer, key).answer(
        request.public_bytes(Encoding.DER),
        lambda _serial: CertificateState(known=True),
        this_update=now,
        next_update=now + timedelta(seconds=30),
    )


def test_a_gate_that_is_down_refuses(bench: Bench) -> None:
    url = f"http://127.0.0.1:{STUB_PORT}/x"
    assert bench.reason_of(lambda: try_with_gate_at(bench, url)) == "gate_silent"


@pytest.mark.parametrize("mode", ["503", "empty"])
def test_an_answer_that_is_none_refuses(bench: Bench, mode: str) -> None:
    assert bench.reason_of(lambda: try_with_stub(bench, mode)) == "gate_silent"


def test_a_slow_gate_refuses(bench: Bench) -> None:
    assert bench.reason_of(lambda: try_with_stub(bench, "slow")) == "gate_silent"


def test_a_good_of_a_foreign_responder_refuses(bench: Bench, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_bytes(build_answer(bench, generate_key("p256")))
    assert bench.reason_of(lambda: try_with_stub(bench, "answer", answer)) == "gate_silent"


def test_a_good_that_is_over_refuses(bench: Bench, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    key = Keystore(bench.lab.state).load_key("signer", "device")
    answer.write_bytes(build_answer(bench, key, stale=timedelta(seconds=60)))
    assert bench.reason_of(lambda: try_with_stub(bench, "answer", answer)) == "gate_silent"


def test_a_good_revocation_list_in_the_cache_is_no_road_round_a_silent_gate(bench: Bench) -> None:
    now = clock.now()
    issuer = x509.load_pem_x509_certificate(bench.authority_pem("device").encode())
    crl = build_revocation_list(
        [],
        issuer=issuer,
        issuer_key=Keystore(bench.lab.state).load_key("signer", "device"),
        number=99,
        this_update=now - timedelta(minutes=1),
        next_update=now + timedelta(days=1),
    )
    pem = x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM).decode()

    def try_with_list() -> None:
        with gate_at(bench, f"http://127.0.0.1:{STUB_PORT}/x"):
            vici = bench.gateway()
            vici._call("load_cert", {"type": "X509_CRL", "flag": "NONE", "data": pem})
            vici.close()
            bench.refused(bench.device_plan())

    assert bench.reason_of(try_with_list) == "gate_silent"


def test_unknown_is_asked_again_and_does_not_latch(bench: Bench) -> None:
    """charon remembers `revoked` and would not ask again; `unknown` leaves the way free once the device may."""
    bench.run("deny", "device", DEVICE, "--reason", "test")
    assert bench.reason_of(lambda: bench.refused(bench.device_plan())) == "device_denied"
    bench.run("allow", "device", DEVICE)
    bench.up(bench.device_plan())
    wait_for("the session", lambda: bool(bench.sessions("device")))
    bench.down(bench.device_plan(), "device")
