"""Gateways in the database, and what their secrets are bound to."""

import pytest

from evertunnel.errors import NotFoundError
from evertunnel.storage import gateways
from tests.installation import Installation


def test_a_gateway_is_found_by_name_in_any_case_or_id(installation: Installation) -> None:
    gateway_id = installation.add_gateway("gw1")
    with installation.store.read() as connection:
        assert gateways.get_gateway(connection, "GW1").id == gateway_id
        assert gateways.get_gateway(connection, gateway_id).name == "gw1"
        with pytest.raises(NotFoundError, match="evertunnel gateway list"):
            gateways.get_gateway(connection, "gw2")


def test_gateways_are_listed_by_name(installation: Installation) -> None:
    for number, name in enumerate(("b", "a", "c"), start=1):
        installation.add_gateway(name, f"127.0.0.{number}")
    with installation.store.read() as connection:
        assert [row.name for row in gateways.list_gateways(connection)] == ["a", "b", "c"]


def test_each_secret_is_bound_to_its_own_place() -> None:
    contexts = {
        bind(gateway_id)
        for bind in (gateways.radius_secret_context, gateways.gate_path_context)
        for gateway_id in ("a", "b")
    }
    assert len(contexts) == 4
