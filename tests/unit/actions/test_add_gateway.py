"""Adding a gateway: checked, with secrets of its own that nobody but their holders can open."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.add_gateway import GatewaySettings, add_gateway
from evertunnel.errors import AlreadyExistsError, InvalidInputError, UnavailableError
from evertunnel.storage import tables
from evertunnel.storage.gateways import gate_path_context, radius_secret_context
from evertunnel.storage.tables import AnyRow
from tests.installation import SETTINGS, Installation


def add(installation: Installation, name: str = "gw1", settings: GatewaySettings = SETTINGS, **changes: Any) -> str:
    options = {
        "public_name": "vpn.example.test", "radius_address": "127.0.0.1", "vici_socket": "/run/charon.vici",
        "seal": lambda secret, context: installation.keystore.seal(secret, context=context),
    } | changes  # fmt: skip
    gateway_id: str = installation.do(add_gateway, name, settings=settings, **options)
    return gateway_id


def get(installation: Installation, gateway_id: str) -> AnyRow:
    with installation.store.read() as connection:
        return connection.execute(select(tables.gateways).where(tables.gateways.c.id == gateway_id)).one()


def test_its_secrets_are_long_its_own_and_open_in_their_place_only(installation: Installation) -> None:
    rows = [get(installation, add(installation, name, radius_address=f"127.0.0.{number}"))
            for number, name in enumerate(("gw1", "gw2"), start=1)]  # fmt: skip
    unseal = installation.keystore.unseal
    secrets = {unseal(row.radius_secret_sealed, context=radius_secret_context(row.id)) for row in rows}
    paths = {unseal(row.gate_path_sealed, context=gate_path_context(row.id)) for row in rows}
    assert len(secrets | paths) == 4
    assert all(len(secret) >= 32 for secret in secrets | paths)
    with pytest.raises(UnavailableError):
        unseal(rows[0].radius_secret_sealed, context=radius_secret_context(rows[1].id))
    with pytest.raises(UnavailableError):
        unseal(rows[0].radius_secret_sealed, context=gate_path_context(rows[0].id))


@pytest.mark.parametrize("name", ["", "gw 1", "../gw", "gw/1", ".", "gw\n", "x" * 64])
def test_a_name_that_cannot_be_a_folder_or_host_is_refused(installation: Installation, name: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a DNS name"):
        add(installation, name)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no address": ({"dns": ["dns.example"]}, "--dns: 'dns.example' is not an IP address"),
    "no local address": ({"local_addresses": ["%any"]}, "--local-address: '%any' is not an IP address"),
    "no network": ({"user_networks": []}, "--user-network: name at least one network"),
    "a network with host bits": (
        {"device_networks": ["10.20.0.1/16"]},
        "--device-network: '10.20.0.1/16' is not",
    ),
    "a range": ({"user_pool": "10.0.0.1-10.0.0.9"}, "--user-pool: '10.0.0.1-10.0.0.9' is not a network"),
    "pools that overlap": ({"user_pool": "10.30.1.0/24"}, "overlap: each tunnel needs addresses of its own"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_setting_is_named_by_its_option(installation: Installation, what: str) -> None:
    changes, words = WRONG[what]
    with pytest.raises(InvalidInputError) as caught:
        add(installation, settings=replace(SETTINGS, **changes))
    assert words in str(caught.value)


@pytest.mark.parametrize("address", ["", "gateway.example", "127.0.0.1:1812", "127.0.0.0/7", "127.1"])
def test_where_it_asks_from_must_be_an_address(installation: Installation, address: str) -> None:
    with pytest.raises(InvalidInputError, match="--radius-address"):
        add(installation, radius_address=address)


def test_two_gateways_cannot_ask_from_one_address_however_it_is_written(installation: Installation) -> None:
    add(installation, radius_address="2001:DB8:0:0::1")
    with pytest.raises(AlreadyExistsError, match=r"gateway 'gw1' asks from 2001:db8::1 already"):
        add(installation, "gw2", radius_address="2001:db8::1")


def test_a_name_is_taken_once_whatever_its_case(installation: Installation) -> None:
    add(installation)
    with pytest.raises(AlreadyExistsError):
        add(installation, "GW1", radius_address="127.0.0.2")


def test_pools_of_both_families_may_stand_side_by_side(installation: Installation) -> None:
    row = get(installation, add(installation, settings=replace(SETTINGS, user_pool="fd00::/64")))
    assert row.settings["user_pool"] == "fd00::/64"
