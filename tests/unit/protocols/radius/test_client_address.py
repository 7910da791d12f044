"""Where a client comes from, however its gateway writes it."""

import pytest

from evertunnel.protocols.radius.attributes import CALLING_STATION_ID
from evertunnel.protocols.radius.client_address import read_client_address
from evertunnel.protocols.radius.packet import decode_access_request
from evertunnel.rate_limit import name_source
from tests.peers import radius

SECRET = b"of this gateway alone"


def read(value: bytes | None) -> str:
    attributes = [] if value is None else [(CALLING_STATION_ID, value)]
    return read_client_address(decode_access_request(radius.build_request(SECRET, attributes), SECRET))


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (b"192.0.2.7", "192.0.2.7"),
        (b"192.0.2.7[4500]", "192.0.2.7[4500]"),
        (b"192.0.2.7:4500", "192.0.2.7[4500]"),
        (b" 192.0.2.7 ", "192.0.2.7"),
        (b"2001:db8::7", "2001:db8::7"),
        (b"2001:db8::7[500]", "2001:db8::7[500]"),
        (b"[2001:db8::7]:500", "2001:db8::7[500]"),
        (b"[2001:db8::7]", "2001:db8::7"),
        (b"00-11-22-33-44-55", "00-11-22-33-44-55"),
        (b"00:11:22:33:44:55", "00:11:22:33:44:55"),
        (b"00-11-22-33-44-55:corp", "00-11-22-33-44-55:corp"),
        (b"vpn.example.com:4500", "vpn.example.com:4500"),
        (b"192.0.2.7:", "192.0.2.7:"),
        (b"\xff\0:1", "\ufffd\ufffd:1"),
        (b"a" * 100, "a" * 64),
        (None, ""),
    ],
)
def test_a_port_is_known_for_one(written: bytes | None, read_as: str) -> None:
    assert read(written) == read_as


@pytest.mark.parametrize("written", ["192.0.2.7:{}", "192.0.2.7[{}]", "[2001:db8::7]:{}", "2001:db8::7[{}]"])
def test_who_takes_another_port_is_still_the_same(written: str) -> None:
    assert len({name_source(read(written.format(port).encode())) for port in (1, 4500, 65_535)}) == 1
