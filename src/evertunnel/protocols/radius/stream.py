"""RADIUS over a stream (RFC 6613, 6614): octets to whole packets, and which mistakes end the connection."""

import hmac
from dataclasses import dataclass
from hashlib import md5

from evertunnel.protocols.radius.attributes import STATE, Code
from evertunnel.protocols.radius.packet import (
    HEADER_BYTES,
    MAXIMUM_PACKET_BYTES,
    ForgedError,
    PacketError,
    UnsignedError,
    split_attributes,
    verify_signature,
)

# Known to everybody: TLS protects, and this keeps the formats as they are (RFC 6614 2.3).
SECRET = b"radsec"
_ZEROS = bytes(16)
_LENGTH_ENDS_AT = 4
_ANSWERED = frozenset({Code.ACCESS_REQUEST, Code.ACCOUNTING_REQUEST, Code.STATUS_SERVER})


class UnknownCodeError(Exception):
    """A packet that no server answers. It is dropped, and the connection stays (RFC 6613 2.6.4)."""


class PacketStream:
    """Takes octets as they come and gives whole packets; holds at most what was fed since the last was taken."""

    def __init__(self) -> None:
        self._octets = bytearray()

    @property
    def is_inside(self) -> bool:
        """Whether a packet was begun and is not whole."""
        return bool(self._octets)

    def feed(self, data: bytes) -> None:
        """More came. Take every packet before feeding again."""
        self._octets += data

    def take(self) -> bytes | None:
        """The next whole packet. Raises PacketError when what follows cannot be one: the stream is lost then."""
        octets = self._octets
        if len(octets) < _LENGTH_ENDS_AT:
            return None
        length = int.from_bytes(octets[2:_LENGTH_ENDS_AT], "big")
        if not HEADER_BYTES <= length <= MAXIMUM_PACKET_BYTES:
            raise PacketError(f"length {length} is outside {HEADER_BYTES}..{MAXIMUM_PACKET_BYTES}")
        if len(octets) < length:
            return None
        packet = bytes(octets[:length])
        del octets[:length]
        return packet


@dataclass(frozen=True, slots=True)
class Examined:
    """A whole packet that may be passed on. `state` names the conversation it continues, if it says so."""

    code: int
    authenticator: bytes
    state: bytes | None


def examine_packet(data: bytes, secret: bytes = SECRET) -> Examined:
    """Look at a whole packet before anybody else does.

    Raises UnknownCodeError and UnsignedError: drop it. Raises any other PacketError: close the connection.
    """
    code = data[0]
    if code not in _ANSWERED:
        raise UnknownCodeError(f"code {code} is none of a client's")
    attributes, signatures = split_attributes(data)
    authenticator = data[4:HEADER_BYTES]
    signed_over = authenticator
    if code == Code.ACCOUNTING_REQUEST:
        expected = md5(data[:4] + _ZEROS + data[HEADER_BYTES:] + secret, usedforsecurity=False).digest()
        if not hmac.compare_digest(expected, authenticator):
            raise ForgedError("the Request Authenticator is wrong")
        signed_over = _ZEROS
    elif not signatures:
        raise UnsignedError("Message-Authenticator is missing")
    if signatures:
        verify_signature(data, signatures, signed_over, secret)
    state = next((value for number, value in attributes if number == STATE), None)
    return Examined(code, authenticator, state)
