"""What a strongSwan is told, and when that is put together."""

from pathlib import Path

import pytest

from evertunnel.gateways.loading import Loader
from evertunnel.gateways.strongswan import GatewayModel
from evertunnel.vici_connection import AwayError, ViciConnection


def test_nothing_is_put_together_for_a_strongswan_that_is_away(tmp_path: Path) -> None:
    """It is tried twice a second, perhaps for days."""

    def load_model() -> tuple[GatewayModel, str]:
        raise AssertionError("nobody is there to be told")

    with pytest.raises(AwayError, match="nobody"):
        Loader(ViciConnection(str(tmp_path / "nobody.vici")), load_model).load()
