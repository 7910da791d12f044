"""A gateway's certificate: made once, kept while it is good, renewed before it ends."""

import threading
from pathlib import Path

import pytest
from cryptography import x509

from evertunnel.gateways.gateway_process import GatewayProcess
from evertunnel.gateways.local_gateway import LocalGateway
from evertunnel.model import Gateway
from evertunnel.storage import gateways
from tests.installation import Installation


def make_process(installation: Installation, tmp_path: Path) -> GatewayProcess:
    return GatewayProcess(
        installation.store,
        installation.signer,
        installation.keystore,
        folder=tmp_path,
        gate_url="http://127.0.0.1:8118",
        radius_address="127.0.0.1",
        radius_port=1812,
        clock=installation.clock,
    )


def test_a_process_whose_gateway_lost_a_thread_ends_so_that_it_is_started_again(
    installation: Installation, tmp_path: Path
) -> None:
    process = make_process(installation, tmp_path)
    gateway = LocalGateway(
        installation.store,
        Gateway("g1", "gw1", "127.0.0.1"),
        str(tmp_path / "nothing.vici"),
        load_model=lambda: process._load_model("g1"),
        clock=installation.clock,
    )
    process._running["g1"] = gateway
    gateway.start()
    stopped = threading.Event()
    threading.Timer(0.3, stopped.set).start()
    process.run(stopped)  # both live, so it ends in peace, and stops them
    with pytest.raises(RuntimeError, match="a thread of gateway g1 ended"):
        process.run(threading.Event())


@pytest.mark.parametrize(("days", "renewed"), [(300, False), (340, True), (400, True)])
def test_a_gateways_certificate_is_renewed_before_it_ends(
    installation: Installation, tmp_path: Path, days: int, renewed: bool
) -> None:
    gateway_id = installation.add_gateway()
    (tmp_path / "keys" / "gateway").mkdir(parents=True, exist_ok=True)
    process = make_process(installation, tmp_path)
    with installation.store.read() as connection:
        row = gateways.get_gateway(connection, gateway_id)
    key = process._load_key(row.name)
    first = process._find_certificate(row, key)
    assert process._find_certificate(row, key) == first
    now = installation.clock.forward(days=days)
    second: x509.Certificate = process._find_certificate(row, key)
    assert (second != first) is renewed
    assert second.not_valid_after_utc > now
    assert process._find_certificate(row, key) == second
