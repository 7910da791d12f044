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


def test_requests_to_disconnect_are_listened_for_only_where_that_is_wanted() -> None:
    options = {"radius_address": "127.0.0.1", "radius_port": 1812, "accounting_port": 1813, "nas_identifier": "gw1"}
    without = build_conf_fragment(**options, radius_secret="secret")  # type: ignore[arg-type]
    assert "dae" not in without
    text = build_conf_fragment(
        **options,
        radius_secret="secret",
        disconnect=("127.0.0.1", 3799, "another-1"),  # type: ignore[arg-type]
    )
    block = text.partition("dae {")[2].partition("}")[0]
    assert [line.strip() for line in block.strip().splitlines()] == [
        "enable = yes", "listen = 127.0.0.1", "port = 3799", 'secret = "another-1"',
    ]  # fmt: skip
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("secret", ['x" }', "a b", "a\nb", "a}b"])
def test_no_secret_gets_out_of_its_quotes(secret: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in") as raised:
        build_conf_fragment(
            radius_address="127.0.0.1", radius_port=1, accounting_port=2, radius_secret="s", nas_identifier="gw1",
            disconnect=("127.0.0.1", 3799, secret),
        )  # fmt: skip
    assert secret not in str(raised.value)
