"""EAP packets: bytes to objects and back (RFC 3748 4)."""

import struct
from enum import IntEnum
from typing import NamedTuple


class Code(IntEnum):
    """EAP codes (RFC 3748 4)."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class Type(IntEnum):
    """EAP types in use (RFC 3748 5, RFC 5216, [MS-PEAP], draft-kamath-pppext-eap-mschapv2)."""

    IDENTITY = 1
    NAK = 3
    TLS = 13
    PEAP = 25
    MSCHAPV2 = 26
    EXTENSIONS = 33  # inside PEAP only
    EXPANDED = 254


# Vendor 0 (the IETF's own types), type Nak; and one type of a list.
_EXPANDED_NAK = bytes((0, 0, 0, 0, 0, 0, Type.NAK))
_EXPANDED = struct.Struct("!B3sI")


class EAPError(Exception):
    """The peer sent something that is not EAP, or not allowed now."""


class Response(NamedTuple):
    """What a peer answered: the identifier of our request, the type, and the data after it."""

    identifier: int
    type: int
    data: bytes


def decode_response(message: bytes) -> Response:
    """Read an EAP-Response. Anything else a peer may send is refused: raises EAPError (RFC 3748 4.1, 4.2)."""
    if len(message) < 5:
        raise EAPError("shorter than an EAP response")
    code, identifier, length = struct.unpack_from("!BBH", message)
    if code != Code.RESPONSE:
        raise EAPError(f"EAP code {code} may not come from a peer")
    if length != len(message):
        # A gateway puts fragments together, so a longer message is no padding but a lie.
        raise EAPError(f"EAP length {length} differs from the {len(message)} octets that came")
    return Response(identifier, message[4], message[5:])


def decode_expanded_nak(data: bytes) -> list[int] | None:
    """The types that an expanded Nak asks for; those of vendors are none we know (RFC 3748 5.3.2, 5.7).

    None for any other expanded type: we never speak one.
    """
    if not data.startswith(_EXPANDED_NAK) or (len(data) - len(_EXPANDED_NAK)) % _EXPANDED.size:
        return None
    wanted = [_EXPANDED.unpack_from(data, at) for at in range(len(_EXPANDED_NAK), len(data), _EXPANDED.size)]
    return [number for kind, vendor, number in wanted if kind == Type.EXPANDED and vendor == b"\0\0\0"]


def encode_request(identifier: int, eap_type: int, data: bytes = b"") -> bytes:
    """An EAP-Request of a type."""
    return struct.pack("!BBHB", Code.REQUEST, identifier, 5 + len(data), eap_type) + data


def encode_success(identifier: int) -> bytes:
    """EAP-Success; its identifier is that of the response it answers (RFC 3748 4.2)."""
    return struct.pack("!BBH", Code.SUCCESS, identifier, 4)


def encode_failure(identifier: int) -> bytes:
    """EAP-Failure; its identifier is that of the response it answers (RFC 3748 4.2)."""
    return struct.pack("!BBH", Code.FAILURE, identifier, 4)
