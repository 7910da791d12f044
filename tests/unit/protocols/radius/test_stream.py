"""Octets of a stream to packets, however they are cut, and what may be passed on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.radius.packet import PacketError, UnsignedError
from evertunnel.protocols.radius.stream import SECRET, PacketStream, UnknownCodeError, examine_packet
from tests.peers import accounting, radius


def build(length: int, code: int = 1) -> bytes:
    return bytes((code, 7)) + length.to_bytes(2, "big") + bytes(length - 4)


@given(st.lists(st.integers(20, 4096), min_size=1, max_size=6), st.integers(0, 2**32))
def test_packets_come_whole_however_the_stream_is_cut(lengths: list[int], seed: int) -> None:
    packets = [build(length) for length in lengths]
    octets, chance = b"".join(packets), random.Random(seed)
    stream, found = PacketStream(), []
    while octets:
        size = chance.choice((1, 3, 19, 100, 16_384))
        stream.feed(octets[:size])
        octets = octets[size:]
        while (packet := stream.take()) is not None:
            found.append(packet)
    assert found == packets
    assert not stream.is_inside


@pytest.mark.parametrize("length", [0, 3, 19, 4097, 65_535])
def test_a_length_that_cannot_be_is_known_before_more_comes(length: int) -> None:
    stream = PacketStream()
    stream.feed(b"\x01\x07" + length.to_bytes(2, "big"))
    with pytest.raises(PacketError, match="outside"):
        stream.take()


@pytest.mark.parametrize("code", sorted(set(range(256)) - {1, 4, 12}))
def test_codes_of_servers_and_unknown_ones_are_dropped(code: int) -> None:
    with pytest.raises(UnknownCodeError):
        examine_packet(build(20, code))


def test_what_is_right_is_passed_on() -> None:
    examined = examine_packet(radius.sign(SECRET, radius.encode_attributes([(radius.STATE, b"\x01x")])))
    assert (examined.code, examined.state, examined.authenticator) == (1, b"\x01x", bytes(range(16)))
    assert examine_packet(accounting.build(SECRET, accounting.START, "a")).code == 4
    assert examine_packet(accounting.build(SECRET, accounting.START, "a", signed=True)).code == 4


@given(st.binary(min_size=16, max_size=300), st.sampled_from([1, 4, 12]))
def test_nothing_without_the_secret_is_passed_on(octets: bytes, code: int) -> None:
    data = bytes((code, 7)) + (4 + len(octets)).to_bytes(2, "big") + octets
    with pytest.raises((PacketError, UnsignedError)):
        examine_packet(data, b"another one")
