"""The device's own tunnel from the same address: however gateways write addresses, and never when it cannot be told."""

import pytest

from evertunnel.access.own_tunnel import find_own_tunnel


@pytest.mark.parametrize(
    ("tunnels", "client", "found"),
    [
        ([], "203.0.113.7", False),
        (["203.0.113.7"], "203.0.113.7", True),
        (["203.0.113.7"], "203.0.113.7[4500]", True),
        (["203.0.113.7[500]"], "::ffff:203.0.113.7", True),
        (["203.0.113.70"], "203.0.113.7", False),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7", True),
        (["2001:db8::1"], "2001:0DB8:0::1[4500]", True),
        (["fe80::1%eth0"], "fe80::1", True),
        (["", "nonsense"], "203.0.113.7", False),
        ([""], "", None),
        (["nonsense"], "nonsense", None),
        (["203.0.113.7"], "203.0.113.7.", None),
    ],
)
def test_own_tunnel(tunnels: list[str], client: str, found: bool | None) -> None:
    known, words = find_own_tunnel(tunnels, client)
    assert known is found
    assert words
