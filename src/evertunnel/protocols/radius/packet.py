"""RADIUS packets: bytes to requests, replies to bytes (RFC 2865 3, RFC 3579 3.2).

Every Access-Request must carry a correct Message-Authenticator and every reply carries one as its first
attribute, whether it holds EAP or not: that closes CVE-2024-3596 (Blast-RADIUS) in both directions.
"""

import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from typing import Any

from evertunnel.protocols.radius.attributes import (
    EAP_MESSAGE,
    MAXIMUM_VALUE_BYTES,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    STATE,
    VENDOR_SPECIFIC,
    Code,
)

HEADER_BYTES = 20
MAXIMUM_PACKET_BYTES = 4096
_AUTHENTICATOR_BYTES = 16
_ZEROS = bytes(16)
_UNSIGNED = bytes((MESSAGE_AUTHENTICATOR, 2 + _AUTHENTICATOR_BYTES)) + _ZEROS
_HMAC_BLOCK_BYTES = 64
_HMAC_INNER, _HMAC_OUTER = bytes(byte ^ 0x36 for byte in range(256)), bytes(byte ^ 0x5C for byte in range(256))


class PacketError(Exception):
    """The peer sent something that RFC 2865 or 3579 says to discard without an answer."""


class UnsignedError(PacketError):
    """No Message-Authenticator: a gateway that does not send it, or somebody who cannot (CVE-2024-3596)."""


class ForgedError(PacketError):
    """What proves the shared secret is there and wrong: another secret, or somebody who has none."""


# Not frozen: every packet makes one, and each field of a frozen one costs three times as much to set.
@dataclass(slots=True)
class Request:
    """A checked request of any code. `attributes` keeps order and has no Message-Authenticator."""

    identifier: int
    authenticator: bytes
    attributes: tuple[tuple[int, bytes], ...]

    def find(self, attribute: int) -> bytes | None:
        """The first value of an attribute, or None."""
        for number, value in self.attributes:
            if number == attribute:
                return value
        return None

    def find_integer(self, attribute: int) -> int | None:
        """The first value as a 32-bit number; None when absent or not four octets long."""
        value = self.find(attribute)
        return int.from_bytes(value, "big") if value is not None and len(value) == 4 else None

    def find_text(self, attribute: int) -> str:
        """The first value as text, undecodable octets replaced; empty when absent."""
        value = self.find(attribute)
        return value.decode("utf-8", "replace") if value is not None else ""


@dataclass(slots=True)
class AccessRequest(Request):
    """A checked Access-Request. `eap_message` is the fragments put together; `attributes` has what else there is.

    `state` names the conversation this belongs to, if it says so.
    """

    eap_message: bytes
    has_eap_message: bool
    state: bytes | None

    def without_details(self) -> "AccessRequest":
        """What another reply to it needs: Identifier, Authenticator and Proxy-State."""
        proxy_states = tuple(each for each in self.attributes if each[0] == PROXY_STATE)
        return AccessRequest(self.identifier, self.authenticator, proxy_states, b"", self.has_eap_message, self.state)


def decode_access_request(data: bytes, secret: bytes) -> AccessRequest:
    """Check and read an Access-Request. Raises PacketError for everything that is to be dropped."""
    data = cut_to_length(data, Code.ACCESS_REQUEST)
    attributes, signatures = split_attributes(data)
    if not signatures:
        raise UnsignedError("Message-Authenticator is missing")
    authenticator = data[4:HEADER_BYTES]
    verify_signature(data, signatures, authenticator, secret)
    eap_parts: list[bytes] = []
    others: list[tuple[int, bytes]] = []
    state: bytes | None = None
    for attribute in attributes:
        number, value = attribute
        if number == EAP_MESSAGE:
            eap_parts.append(value)
            continue
        others.append(attribute)
        if number == STATE and state is None:
            state = value
    return AccessRequest(data[1], authenticator, tuple(others), b"".join(eap_parts), bool(eap_parts), state)


def cut_to_length(data: bytes, code: Code) -> bytes:
    """A packet of this code without the octets after its Length, which are padding (RFC 2865 3)."""
    if len(data) < HEADER_BYTES:
        raise PacketError("shorter than a RADIUS header")
    came, _, length = struct.unpack_from("!BBH", data)
    if came != code:
        raise PacketError(f"code {came} is not one this port takes")
    if not HEADER_BYTES <= length <= MAXIMUM_PACKET_BYTES:
        raise PacketError(f"length {length} is outside 20..4096")
    if length > len(data):
        raise PacketError(f"length {length} is more than the {len(data)} octets that came")
    return data[:length]


def split_attributes(data: bytes) -> tuple[list[tuple[int, bytes]], list[int]]:
    """Number and value of each attribute, and apart from them where the values of Message-Authenticators begin."""
    attributes: list[tuple[int, bytes]] = []
    signatures: list[int] = []
    position, length = HEADER_BYTES, len(data)
    while position < length:
        value_at = position + 2
        if value_at > length:
            raise PacketError("an attribute is cut off")
        number, size = data[position], data[position + 1]
        position += size
        if size < 2 or position > length:
            raise PacketError(f"attribute {number} has length {size}")
        if number == MESSAGE_AUTHENTICATOR:
            signatures.append(value_at)
        else:
            attributes.append((number, data[value_at:position]))
    return attributes, signatures


def verify_signature(data: bytes, signatures: Sequence[int], authenticator: bytes, secret: bytes) -> None:
    """Raise PacketError unless the one Message-Authenticator is right over this Request Authenticator (RFC 3579 3.2).

    `signatures` is where it is, from `split_attributes`.
    """
    if len(signatures) != 1:
        raise PacketError("Message-Authenticator is repeated" if signatures else "Message-Authenticator is missing")
    (signature_at,) = signatures
    if data[signature_at - 1] != _AUTHENTICATOR_BYTES + 2:
        raise PacketError("Message-Authenticator is not 16 octets long")
    signature = data[signature_at : signature_at + 16]
    signed = data[:4] + authenticator + data[HEADER_BYTES:signature_at] + _ZEROS + data[signature_at + 16 :]
    if not hmac.compare_digest(sign(secret, signed), signature):
        raise ForgedError("Message-Authenticator is wrong: does the shared secret differ?")


def encode_reply(
    code: Code,
    request: Request,
    secret: bytes,
    *,
    eap_message: bytes = b"",
    attributes: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """An Access-Accept, -Reject or -Challenge, signed, with the request's Proxy-State copied in order.

    Raises ValueError when an attribute or the whole is too long.
    """
    body = _UNSIGNED
    for start in range(0, len(eap_message), MAXIMUM_VALUE_BYTES):
        body += _encode_attribute(EAP_MESSAGE, eap_message[start : start + MAXIMUM_VALUE_BYTES])
    for number, value in attributes:
        body += _encode_attribute(number, value)
    body += encode_proxy_states(request)
    length = HEADER_BYTES + len(body)
    if length > MAXIMUM_PACKET_BYTES:
        raise ValueError(f"the reply would be {length} octets long; RADIUS ends at {MAXIMUM_PACKET_BYTES}")
    start_of_packet = struct.pack("!BBH", code, request.identifier, length)
    signature = sign(secret, start_of_packet + request.authenticator + body)
    body = body[:2] + signature + body[18:]
    authenticator = md5(start_of_packet + request.authenticator + body + secret, usedforsecurity=False).digest()
    return start_of_packet + authenticator + body


def encode_proxy_states(request: Request) -> bytes:
    """Every Proxy-State of a request as it came and in order, for its reply (RFC 2865 5.33)."""
    return b"".join([_encode_attribute(number, value) for number, value in request.attributes if number == PROXY_STATE])


def bound_eap_message(request: Request, *, beside: int) -> int:
    """The octets of an EAP message that fit into a reply to this request, with attributes of so many octets beside it.

    None left is 0 or less: a chain of proxies may fill a packet.
    """
    room = MAXIMUM_PACKET_BYTES - HEADER_BYTES - len(_UNSIGNED) - len(encode_proxy_states(request)) - beside
    whole, rest = divmod(room, 2 + MAXIMUM_VALUE_BYTES)
    return whole * MAXIMUM_VALUE_BYTES + max(0, rest - 2)


def encode_vendor_attribute(vendor: int, number: int, value: bytes) -> tuple[int, bytes]:
    """A vendor-specific attribute in the usual form (RFC 2865 5.26)."""
    return VENDOR_SPECIFIC, struct.pack("!IBB", vendor, number, len(value) + 2) + value


def _encode_attribute(number: int, value: bytes) -> bytes:
    if len(value) > MAXIMUM_VALUE_BYTES:
        raise ValueError(f"attribute {number} would be {len(value) + 2} octets long; an attribute ends at 255")
    return bytes((number, len(value) + 2)) + value


def sign(secret: bytes, data: bytes) -> bytes:
    """HMAC-MD5. Twice a packet: going on from states that are kept costs half of `hmac.digest`."""
    begun_inner, begun_outer = _begin_hmac(secret)
    inner, outer = begun_inner.copy(), begun_outer.copy()
    inner.update(data)
    outer.update(inner.digest())
    return bytes(outer.digest())


@lru_cache(maxsize=1024)
def _begin_hmac(secret: bytes) -> tuple[Any, Any]:
    """The two MD5 states that every HMAC under a secret begins with (RFC 2104 2)."""
    key = md5(secret, usedforsecurity=False).digest() if len(secret) > _HMAC_BLOCK_BYTES else secret
    block = key.ljust(_HMAC_BLOCK_BYTES, b"\0")
    return (
        md5(block.translate(_HMAC_INNER), usedforsecurity=False),
        md5(block.translate(_HMAC_OUTER), usedforsecurity=False),
    )
