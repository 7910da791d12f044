"""RADIUS over a stream (RadSec), and what gateways answer to Disconnect- and CoA-Requests.

The first octet says which. However a stream is cut the same packets come out; nothing is passed on, and no answer
believed, that was not rightly signed.
"""

import struct
from hashlib import md5

from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.dynamic_authorization import decode_dynamic_answer, encode_dynamic_request
from evertunnel.protocols.radius.packet import MAXIMUM_PACKET_BYTES, PacketError
from evertunnel.protocols.radius.stream import SECRET, PacketStream, UnknownCodeError, examine_packet
from tests.fuzz.target import Target
from tests.peers import radius

_STREAM, _SIGNED, _ANSWER, _SIGNED_ANSWER = range(4)
_OWN_SECRET = b"xyzzy5461"
_REQUEST = encode_dynamic_request(
    Code.DISCONNECT_REQUEST, 7, [(44, b"1-1")], secret=_OWN_SECRET, timestamp=1_777_000_000
)
_CODES = (Code.DISCONNECT_ACK, Code.DISCONNECT_NAK, Code.COA_ACK, Code.ACCESS_ACCEPT)


def build() -> Target:
    """Packets in a row, one of each kind, and both answers."""
    login = radius.encode_attributes([(1, b"alice"), (24, bytes(16)), *radius.split_eap(bytes(300))])
    row = radius.sign(SECRET, login) + radius.sign(SECRET, b"", code=Code.STATUS_SERVER)
    no = radius.encode_attributes([(101, struct.pack("!I", 503)), (33, b"a proxy")])
    return Target(
        check,
        seeds=[
            *(bytes((_STREAM, step)) + row for step in (0, 3, 200)),
            bytes((_SIGNED, Code.ACCESS_REQUEST)) + login,
            bytes((_SIGNED, Code.ACCOUNTING_REQUEST)) + radius.encode_attributes([(40, b"\0\0\0\1"), (44, b"1-1")]),
            bytes((_ANSWER, 0)) + _REQUEST.data,
            *(bytes((_SIGNED_ANSWER, code)) + no for code in range(4)),
        ],
        largest_bytes=8192,
        words=[bytes((n,)) for n in (24, 40, 80, 101)],
    )


def check(data: bytes) -> None:
    """Read by the first octet."""
    if len(data) < 2:
        return
    (_check_stream, _check_signed, _check_answer, _check_signed_answer)[data[0] % 4](data[1], data[2:])


def _check_stream(step: int, data: bytes) -> None:
    stream, kept = PacketStream(), data
    try:
        for at in range(0, len(data), step + 1):
            stream.feed(data[at : at + step + 1])
            while (packet := stream.take()) is not None:
                assert kept.startswith(packet) and 20 <= len(packet) <= MAXIMUM_PACKET_BYTES
                kept = kept[len(packet) :]
                _verify_refused(packet)
    except PacketError:
        return
    assert stream.is_inside == bool(kept)


def _verify_refused(packet: bytes) -> None:
    try:
        examine_packet(packet, b"another secret")
    except (PacketError, UnknownCodeError) as error:
        assert len(str(error)) < 200
        return
    raise AssertionError("a packet was passed on whose signature is wrong")


def _check_signed(code: int, attributes: bytes) -> None:
    if len(attributes) > MAXIMUM_PACKET_BYTES - 60:
        return
    data = radius.sign(SECRET, attributes, code=code)
    if code == Code.ACCOUNTING_REQUEST:
        header = struct.pack("!BBH", code, 7, 20 + len(attributes))
        data = header + md5(header + bytes(16) + attributes + SECRET).digest() + attributes
    try:
        examined = examine_packet(data)
    except (PacketError, UnknownCodeError):
        return
    assert (examined.code, examined.authenticator) == (code, data[4:20])
    assert examined.state is None or bytes((24, len(examined.state) + 2)) + examined.state in attributes


def _check_answer(_code: int, data: bytes) -> None:
    try:
        decode_dynamic_answer(data, _REQUEST, b"another secret")
    except PacketError:
        return
    raise AssertionError("an answer was believed whose authenticator is wrong")


def _check_signed_answer(code: int, attributes: bytes) -> None:
    header = struct.pack("!BBH", _CODES[code % 4], 7, min(20 + len(attributes), 0xFFFF))
    asked = _REQUEST.data[4:20]
    data = header + md5(header + asked + attributes + _OWN_SECRET).digest() + attributes
    try:
        answer = decode_dynamic_answer(data, _REQUEST, _OWN_SECRET)
    except PacketError:
        return
    assert answer.acknowledged == (_CODES[code % 4] == Code.DISCONNECT_ACK)
    assert bool(answer.error) != answer.acknowledged and len(answer.error) < 200
