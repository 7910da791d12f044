"""The device's own tunnel from the same address: however gateways write addresses, and never when it cannot be told."""

import pytest

from evertunnel.access.own_tunnel import OwnTunnel, find_own_tunnel


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
    known, words = OwnTunnel(tuple(tunnels)).judge(client)
    assert known is found
    assert words


def test_what_nobody_looked_at_is_unknown() -> None:
    assert find_own_tunnel(None, "203.0.113.7", device_known=True)[0] is None
    assert find_own_tunnel(None, "203.0.113.7", device_known=False) == (None, "the device is not known")


def test_what_changed_just_now_holds_for_a_moment_and_the_words_say_so() -> None:
    known, words = OwnTunnel(("198.51.100.1",), lately=True).judge("203.0.113.7")
    assert known
    assert "for less than 30 seconds" in words
    assert OwnTunnel((), lately=True).judge("nonsense")[0] is None


def test_what_is_supposed_is_taken_for_true() -> None:
    assert OwnTunnel(supposed=True).judge("") == (True, "supposed")
    assert OwnTunnel(("203.0.113.7",), supposed=False).judge("203.0.113.7")[0] is False
