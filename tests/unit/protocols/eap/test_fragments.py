"""EAP-TLS fragments, both ways (RFC 5216 2.1.5, 3.1)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.eap.fragments import (
    LENGTH_INCLUDED,
    MAXIMUM_MESSAGE_BYTES,
    MORE_FRAGMENTS,
    START,
    IncomingMessage,
    OutgoingMessage,
)
from evertunnel.protocols.eap.packet import EAPError


def with_length(flags: int, length: int, body: bytes) -> bytes:
    return struct.pack("!BI", flags | LENGTH_INCLUDED, length) + body


def take_all(outgoing: OutgoingMessage) -> list[bytes]:
    packets = [outgoing.next_fragment()]
    while not outgoing.finished:
        packets.append(outgoing.next_fragment())
    return packets


def assert_refused(incoming: IncomingMessage, data: bytes, why: str) -> None:
    with pytest.raises(EAPError, match=why):
        incoming.add(data)


def test_a_message_in_one_packet() -> None:
    assert IncomingMessage().add(b"\0hello") == b"hello"
    assert IncomingMessage().add(with_length(0, 5, b"hello")) == b"hello"


def test_an_empty_packet_is_an_acknowledgement() -> None:
    assert IncomingMessage().add(b"\0") == b""


def test_a_message_in_three_packets_then_another() -> None:
    incoming = IncomingMessage()
    assert incoming.add(with_length(MORE_FRAGMENTS, 6, b"ab")) is None
    assert incoming.add(bytes((MORE_FRAGMENTS,)) + b"cd") is None
    assert incoming.add(b"\0ef") == b"abcdef"
    assert incoming.add(with_length(0, 1, b"x")) == b"x"


def test_the_length_may_stand_in_every_fragment_if_it_stays_the_same() -> None:
    incoming = IncomingMessage()
    assert incoming.add(with_length(MORE_FRAGMENTS, 4, b"ab")) is None
    assert incoming.add(with_length(0, 4, b"cd")) == b"abcd"


def test_the_declared_total_is_a_promise() -> None:
    assert_refused(IncomingMessage(), with_length(0, 4, b"abc"), "shorter than promised")
    assert_refused(IncomingMessage(), with_length(0, 2, b"abc"), "longer than promised")
    assert_refused(IncomingMessage(), with_length(MORE_FRAGMENTS, 2, b"abc"), "longer than promised")
    incoming = IncomingMessage()
    incoming.add(with_length(MORE_FRAGMENTS, 4, b"ab"))
    assert_refused(incoming, with_length(MORE_FRAGMENTS, 5, b"c"), "changed between fragments")


def test_a_length_that_appears_late_is_refused() -> None:
    incoming = IncomingMessage()
    incoming.add(bytes((MORE_FRAGMENTS,)) + b"ab")
    assert_refused(incoming, with_length(0, 3, b"c"), "changed between fragments")


@pytest.mark.parametrize("promised", [MAXIMUM_MESSAGE_BYTES + 1, 2**32 - 1])
def test_an_oversized_promise_is_refused_at_once(promised: int) -> None:
    assert_refused(IncomingMessage(), with_length(MORE_FRAGMENTS, promised, b"a"), "too long")


def test_the_longest_message_is_taken_and_one_octet_more_is_not() -> None:
    half = bytes((MORE_FRAGMENTS,)) + bytes(MAXIMUM_MESSAGE_BYTES // 2)
    incoming = IncomingMessage()
    incoming.add(half)
    assert incoming.add(half) is None
    assert_refused(incoming, b"\0x", "longer than promised")
    incoming = IncomingMessage()
    incoming.add(half)
    assert incoming.add(b"\0" + half[1:]) == bytes(MAXIMUM_MESSAGE_BYTES)


def test_data_without_flags_and_a_peers_start_are_refused() -> None:
    assert_refused(IncomingMessage(), b"", "without flags")
    assert_refused(IncomingMessage(), bytes((START,)), "start flag")


@pytest.mark.parametrize("cut", range(4))
def test_a_length_that_is_cut_off_is_refused(cut: int) -> None:
    assert_refused(IncomingMessage(), with_length(0, 1, b"")[: 1 + cut], "cut off")


def test_an_empty_fragment_that_promises_more_is_refused() -> None:
    assert_refused(IncomingMessage(), bytes((MORE_FRAGMENTS,)), "promises more")
    assert_refused(IncomingMessage(), with_length(MORE_FRAGMENTS, 5, b""), "promises more")


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_noise_is_put_together_or_refused(packets: list[bytes]) -> None:
    incoming = IncomingMessage()
    try:
        messages = [incoming.add(packet) for packet in packets]
    except EAPError:
        return
    assert sum(len(message or b"") for message in messages) <= sum(map(len, packets))


def test_a_short_message_goes_out_whole_and_without_length() -> None:
    outgoing = OutgoingMessage(b"hello", packet_bytes=10)
    assert not outgoing.finished
    assert outgoing.next_fragment() == b"\0hello"
    assert outgoing.finished


def test_a_message_that_just_fits_goes_out_whole() -> None:
    assert take_all(OutgoingMessage(b"abcdefghi", packet_bytes=10)) == [b"\0abcdefghi"]
    assert take_all(OutgoingMessage(b"abcdefghij", packet_bytes=10)) == [
        with_length(MORE_FRAGMENTS, 10, b"abcde"),
        b"\0fghij",
    ]


def test_an_empty_message_is_one_empty_packet() -> None:
    assert take_all(OutgoingMessage(b"", packet_bytes=10)) == [b"\0"]


def test_a_long_message_goes_out_in_fragments_the_first_with_its_length() -> None:
    assert take_all(OutgoingMessage(b"abcdefghijk", packet_bytes=10)) == [
        with_length(MORE_FRAGMENTS, 11, b"abcde"),
        bytes((MORE_FRAGMENTS,)) + b"fghij",
        b"\0k",
    ]


def test_a_bound_too_small_for_anything_still_makes_progress() -> None:
    assert len(take_all(OutgoingMessage(b"abc", packet_bytes=1))) == 3


@given(message=st.binary(max_size=3_000), packet_bytes=st.integers(50, 1_400))
def test_what_goes_out_in_fragments_comes_in_whole_and_none_exceeds_the_bound(
    message: bytes, packet_bytes: int
) -> None:
    packets = take_all(OutgoingMessage(message, packet_bytes=packet_bytes))
    assert max(map(len, packets)) <= packet_bytes
    incoming = IncomingMessage()
    *waiting, whole = [incoming.add(packet) for packet in packets]
    assert waiting == [None] * len(waiting)
    assert whole == message
