"""What strongSwan is told of our RADIUS ports."""

import pytest

from evertunnel.gateways.strongswan import build_conf_fragment


def build(secret: str = "s3cret") -> list[str]:
    text = build_conf_fragment(
        radius_address="127.0.0.1", radius_port=1812, accounting_port=1813, radius_secret=secret, nas_identifier="gw1"
    )
    return [line.strip() for line in text.splitlines()]


def test_it_counts_sends_our_session_id_back_and_ends_no_tunnel_because_we_are_away() -> None:
    told = build()
    for line in (
        "accounting = yes",
        "accounting_interval = 300",
        "accounting_requires_vip = yes",
        "accounting_send_class = yes",
        "accounting_close_on_timeout = no",
        "acct_port = 1813",
        "auth_port = 1812",
    ):
        assert line in told


def test_a_secret_that_would_say_more_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        build('x" }\n')
