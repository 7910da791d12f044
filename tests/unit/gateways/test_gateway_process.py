"""The gateway process: a certificate for each gateway, renewed in time, and the list of gateways followed."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from evertunnel.access.computed_risks import Place
from evertunnel.actions.change_gateway import GatewayChange, change_gateway
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.remove_gateway import remove_gateway
from evertunnel.gateways.gateway_process import GatewayProcess
from evertunnel.lab.lab import wait_for
from evertunnel.storage import gateways
from tests.installation import Installation
from tests.unit.access.samples import make_document
from tests.unit.gateways.test_dynamic_keeper import Foreign


def test_a_process_whose_gateway_lost_a_thread_ends_so_that_it_is_started_again(
    installation: Installation, tmp_path: Path
) -> None:
    gateway_id = installation.add_gateway()
    (tmp_path / "keys" / "gateway").mkdir(parents=True, exist_ok=True)
    process = build(installation, tmp_path)
    (tmp_path / "gateways").mkdir()
    process._follow_list()
    gateway = process._running[gateway_id].gateway
    assert gateway.is_alive
    gateway.stop()
    wait_for("the end of its threads", lambda: not gateway.is_alive)
    with pytest.raises(RuntimeError, match=f"a thread of gateway {gateway_id} ended"):
        process.run(threading.Event())


@pytest.mark.parametrize(("days", "renewed"), [(300, False), (340, True), (400, True)])
def test_a_gateways_certificate_is_renewed_before_it_ends(
    installation: Installation, tmp_path: Path, days: int, renewed: bool
) -> None:
    gateway_id = installation.add_gateway()
    (tmp_path / "keys" / "gateway").mkdir(parents=True, exist_ok=True)
    process = build(installation, tmp_path)
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


@pytest.fixture
def process(installation: Installation, tmp_path: Path) -> Iterator[GatewayProcess]:
    (tmp_path / "keys" / "gateway").mkdir(parents=True, exist_ok=True)
    (tmp_path / "gateways").mkdir()
    made = build(installation, tmp_path)
    yield made
    for running in made._running.values():
        running.gateway.stop()


def build(installation: Installation, tmp_path: Path, **geography: Any) -> GatewayProcess:
    return GatewayProcess(
        installation.store,
        installation.signer,
        installation.keystore,
        folder=tmp_path / "gateways",
        gate_url="http://127.0.0.1:8118",
        radius_address="127.0.0.1",
        radius_port=1812,
        accounting_port=1813,
        clock=installation.clock,
        **geography,
    )


def change(installation: Installation, *, rotate: bool = False, **changes: Any) -> None:
    def seal(secret: bytes, context: str) -> bytes:
        return installation.keystore.seal(secret, context=context)

    installation.do(change_gateway, "gw1", GatewayChange(**changes), rotate=rotate, seal=seal)


def test_a_gateway_that_is_removed_is_left_alone_and_leaves_no_secret(
    installation: Installation, tmp_path: Path, process: GatewayProcess
) -> None:
    installation.add_gateway()
    process._follow_list()
    (running,) = process._running.values()
    fragment, key = tmp_path / "gateways" / "gw1" / "strongswan.conf", tmp_path / "keys" / "gateway" / "gw1.pem"
    process._load_key("gw1")
    assert fragment.exists() and key.exists()
    installation.do(remove_gateway, "gw1")
    process._follow_list()
    assert process._running == {}
    assert not any(thread.is_alive() for thread in running.gateway._threads[1:])
    assert not fragment.parent.exists() and not key.exists()


def test_what_was_removed_while_the_process_was_away_is_cleared_away_as_well(
    installation: Installation, tmp_path: Path, process: GatewayProcess
) -> None:
    installation.add_gateway()
    process._follow_list()
    installation.do(remove_gateway, "gw1")
    build(installation, tmp_path)._follow_list()
    assert list((tmp_path / "gateways").iterdir()) == []


def test_a_new_secret_is_written_and_the_gateway_goes_on(
    installation: Installation, tmp_path: Path, process: GatewayProcess
) -> None:
    installation.add_gateway()
    process._follow_list()
    (before,) = process._running.values()
    fragment = tmp_path / "gateways" / "gw1" / "strongswan.conf"
    text = fragment.read_text()
    process._follow_list()
    assert fragment.read_text() == text
    change(installation, rotate=True)
    process._follow_list()
    (after,) = process._running.values()
    assert after.gateway is before.gateway
    assert fragment.read_text() != text
    process._follow_list()
    assert list(process._running.values()) == [after]


def test_another_socket_is_another_gateway_to_look_after(installation: Installation, process: GatewayProcess) -> None:
    installation.add_gateway()
    process._follow_list()
    (before,) = process._running.values()
    change(installation, vici_socket="/run/other.vici")
    process._follow_list()
    (after,) = process._running.values()
    assert after.vici_socket == "/run/other.vici"
    assert after.gateway is not before.gateway


def test_a_disabled_gateway_is_still_looked_after_so_that_its_tunnels_end(
    installation: Installation, process: GatewayProcess
) -> None:
    installation.add_gateway()
    change(installation, enabled=False)
    process._follow_list()
    assert [running.name for running in process._running.values()] == ["gw1"]


def test_sessions_of_a_gateway_that_is_not_ours_are_decided_with_countries_and_places(
    installation: Installation, tmp_path: Path
) -> None:
    """As its logins are: where no place is known a policy about risky sign-ins would end them all."""
    process = build(
        installation,
        tmp_path,
        find_country=lambda _address: "DE",
        find_place=lambda _address: Place(48.1, 11.5, 10),
    )
    foreign = Foreign(installation, None)
    risky = make_document("block", name="Risky")
    risky["conditions"]["signInRiskLevels"] = ["high"]
    installation.do(import_access_policies, risky)
    process._follow_list()
    _begun_with, keeper = process._dynamic[foreign.gateway.id]
    keeper.stop()
    wait_for("the end of its thread", lambda: not keeper.is_alive)
    foreign.keeper = keeper
    foreign.turn()
    assert foreign.session.state == "pending"
