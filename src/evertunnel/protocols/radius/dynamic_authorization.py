"""Disconnect- and CoA-Requests that we send, and what gateways answer (RFC 5176)."""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import md5

from evertunnel.protocols.radius.attributes import (
    ERROR_CAUSE,
    EVENT_TIMESTAMP,
    MAXIMUM_VALUE_BYTES,
    MESSAGE_AUTHENTICATOR,
    Code,
)
from evertunnel.protocols.radius.packet import (
    HEADER_BYTES,
    MAXIMUM_PACKET_BYTES,
    ForgedError,
    PacketError,
    cut_to_length,
    sign,
    split_attributes,
    verify_signature,
)

_ZEROS = bytes(16)
_ANSWERS = {
    Code.DISCONNECT_REQUEST: (Code.DISCONNECT_ACK, Code.DISCONNECT_NAK),
    Code.COA_REQUEST: (Code.COA_ACK, Code.COA_NAK),
}
# Error-Cause (RFC 5176 3.5) as an administrator reads it.
_CAUSES = {
    201: "it removed what was left of a session",
    202: "it was given an EAP message that it does not understand",
    401: "it does not know an attribute of the request",
    402: "it misses an attribute in the request",
    403: "the request names another gateway (NAS identification)",
    404: "it takes the request for malformed",
    405: "it does not support this kind of request",
    406: "it does not support what the request asks for",
    407: "it takes a value in the request for wrong",
    501: "it is forbidden there: its administrator allows no such requests from here",
    502: "a proxy on the way has no route to it",
    503: "it knows no such session",
    504: "the session is there and cannot be ended",
    505: "a proxy on the way failed",
    506: "it has no resources for it",
    507: "it wants to be told by an answer to a request of its own",
    508: "it has several such sessions and ends none",
}


@dataclass(frozen=True, slots=True)
class DynamicRequest:
    """A request as it leaves, and leaves again unchanged (RFC 5176 2.3)."""

    data: bytes

    @property
    def identifier(self) -> int:
        """What its answer carries too."""
        return self.data[1]


@dataclass(frozen=True, slots=True)
class DynamicAnswer:
    """What a gateway said, checked. `error` is why not, in words; empty when it acknowledged."""

    acknowledged: bool
    error: str = ""


def encode_dynamic_request(
    code: Code, identifier: int, attributes: Iterable[tuple[int, bytes]], *, secret: bytes, timestamp: int
) -> DynamicRequest:
    """A Disconnect- or CoA-Request, signed both ways. `timestamp` is seconds since 1970: gateways drop old ones.

    Raises ValueError when an attribute or the whole is too long.
    """
    body = bytes((MESSAGE_AUTHENTICATOR, 18)) + _ZEROS
    for number, value in (*attributes, (EVENT_TIMESTAMP, struct.pack("!I", timestamp))):
        if len(value) > MAXIMUM_VALUE_BYTES:
            raise ValueError(f"attribute {number} would be {len(value) + 2} octets long; an attribute ends at 255")
        body += bytes((number, len(value) + 2)) + value
    length = HEADER_BYTES + len(body)
    if length > MAXIMUM_PACKET_BYTES:
        raise ValueError(f"the request would be {length} octets long; RADIUS ends at {MAXIMUM_PACKET_BYTES}")
    start = struct.pack("!BBH", code, identifier, length)
    # The Request Authenticator is computed last, so the other signature counts it as zeros (RFC 5176 3.4).
    body = body[:2] + sign(secret, start + _ZEROS + body) + body[18:]
    authenticator = md5(start + _ZEROS + body + secret, usedforsecurity=False).digest()
    return DynamicRequest(start + authenticator + body)


def decode_dynamic_answer(data: bytes, request: DynamicRequest, secret: bytes) -> DynamicAnswer:
    """Check and read the answer to a request. Raises PacketError for everything that is to be dropped.

    Some gateways, strongSwan among them, send no Message-Authenticator: then the Response Authenticator alone counts.
    """
    asked = Code(request.data[0])
    yes, no = _ANSWERS[asked]
    code = yes if data[:1] == bytes((yes,)) else no
    data = cut_to_length(data, code)
    if data[1] != request.identifier:
        raise PacketError("the Identifier is another one")
    request_authenticator = request.data[4:HEADER_BYTES]
    expected = md5(data[:4] + request_authenticator + data[HEADER_BYTES:] + secret, usedforsecurity=False).digest()
    if not hmac.compare_digest(expected, data[4:HEADER_BYTES]):
        raise ForgedError("the Response Authenticator is wrong: does the secret differ?")
    attributes, signatures = split_attributes(data)
    if signatures:
        verify_signature(data, signatures, request_authenticator, secret)
    causes = [value for number, value in attributes if number == ERROR_CAUSE and len(value) == 4]
    cause = int.from_bytes(causes[0], "big") if causes else None
    return DynamicAnswer(True) if code == yes else DynamicAnswer(False, explain_error_cause(cause))


def explain_error_cause(number: int | None) -> str:
    """Why a gateway said no, in words, with the number for whoever looks it up."""
    if number is None:
        return "the gateway refused and gave no cause"
    return f"the gateway refused: {_CAUSES.get(number, 'a cause we have no words for')} (Error-Cause {number})"
