"""What a request to a gateway must name, so that it ends nobody else's session."""

import pytest

from evertunnel.gateways.disconnecting import is_named
from evertunnel.protocols.radius import attributes as radius


@pytest.mark.parametrize("name", [b"anonymous", b"anonymous@corp.example", b"@corp.example", b""])
def test_who_gave_no_name_is_not_ended_with_all_who_gave_none(name: bytes) -> None:
    nas = radius.NAS_IDENTIFIER, b"gw1"
    assert not is_named([nas, (radius.USER_NAME, name)])
    assert is_named([nas, (radius.USER_NAME, name), (radius.ACCT_SESSION_ID, b"1")])
    assert is_named([nas, (radius.USER_NAME, name), (radius.NAS_PORT, b"\0\0\0\1")])
    assert is_named([nas, (radius.USER_NAME, b"alice@corp.example")])
