"""EAP packets and EAP-TLS fragments: what is read is what was written, and fragments come together as they were cut."""

import struct

from evertunnel.protocols.eap.fragments import MAXIMUM_MESSAGE_BYTES, IncomingMessage, OutgoingMessage
from evertunnel.protocols.eap.packet import EAPError, decode_response, encode_failure, encode_request, encode_success
from tests.fuzz.target import Target

_RESPONSE, _FRAGMENTS, _CUT = range(3)


def build() -> Target:
    """Responses of several types, and fragments with each flag."""
    responses = ["0201000a01616c696365", "02020006030d", "020300060d00", "0200000501"]
    fragments = ["05c00000000841424344", "0140", "05004142", "0100", "0120", "0180", "09800000000441424344"]
    return Target(
        check,
        seeds=[
            *(bytes((_RESPONSE,)) + bytes.fromhex(each) for each in responses),
            *(bytes((_FRAGMENTS,)) + b"".join(map(bytes.fromhex, fragments[n:])) for n in range(len(fragments))),
            *(bytes((_CUT, size)) + bytes(range(200)) for size in (0, 1, 5, 6, 60, 199, 201, 255)),
        ],
        words=[b"\xc0\0\0", b"\x80\0\0\0\4", b"\x40", b"\x20"],
    )


def check(data: bytes) -> None:
    """Read by the first octet."""
    if len(data) < 2:
        return
    if data[0] % 3 == _RESPONSE:
        _check_response(data[1:])
    elif data[0] % 3 == _FRAGMENTS:
        _check_fragments(data[1:])
    else:
        _check_cut(data[1], data[2:])


def _check_response(message: bytes) -> None:
    try:
        response = decode_response(message)
    except EAPError as error:
        assert len(str(error)) < 200
        return
    assert struct.pack("!BBHB", 2, response.identifier, len(message), response.type) + response.data == message
    # A request is written as a response is, but for the code.
    assert encode_request(response.identifier, response.type, response.data)[1:] == message[1:]
    for end in (encode_success(response.identifier), encode_failure(response.identifier)):
        try:
            decode_response(end)
        except EAPError:
            continue
        raise AssertionError("a success or failure was taken from a peer")


def _check_fragments(data: bytes) -> None:
    """A length octet before each fragment. What comes out is what went in, in its order and never more than allowed."""
    incoming, bodies = IncomingMessage(), b""
    while data:
        fragment, data = data[1 : 1 + data[0]], data[1 + data[0] :]
        try:
            whole = incoming.add(fragment)
        except EAPError:
            return
        bodies += fragment[5:] if fragment[0] & 0x80 else fragment[1:]
        assert len(bodies) <= MAXIMUM_MESSAGE_BYTES
        assert (whole is None) == bool(fragment[0] & 0x40) == incoming.began
        if whole is not None:
            assert whole == bodies
            bodies = b""


def _check_cut(packet_bytes: int, message: bytes) -> None:
    outgoing, incoming, whole = OutgoingMessage(message, packet_bytes=packet_bytes), IncomingMessage(), None
    while whole is None:
        fragment = outgoing.next_fragment()
        assert len(fragment) <= max(packet_bytes, 6)
        whole = incoming.add(fragment)
        assert (whole is not None) == outgoing.finished
    assert whole == message
