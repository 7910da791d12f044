"""Accounting-Request and Accounting-Response (RFC 2866 3, 4): an authenticator over the whole, and what was counted."""

import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import md5
from ipaddress import IPv4Address, IPv6Address

from evertunnel.protocols.radius import attributes as radius
from evertunnel.protocols.radius.packet import (
    HEADER_BYTES,
    ForgedError,
    PacketError,
    Request,
    cut_to_length,
    encode_proxy_states,
    split_attributes,
    verify_signature,
)

_ZEROS = bytes(16)
_IPV6_PREFIX_BYTES = 18


class Status(IntEnum):
    """Acct-Status-Type (RFC 2866 5.1)."""

    START = 1
    STOP = 2
    INTERIM = 3
    ON = 7
    OFF = 8


# Acct-Terminate-Cause (RFC 2866 5.10) as an administrator says it.
_CAUSES = {
    1: "the user or the device ended it",
    2: "the connection was lost",
    3: "the client no longer answered",
    4: "it was idle for too long",
    5: "its time was over",
    6: "an administrator ended it",
    7: "an administrator restarts the gateway",
    8: "an error of the gateway's port",
    9: "an error of the gateway",
    10: "the gateway ended it",
    11: "the gateway restarted by itself",
    12: "the gateway no longer needed the port",
    13: "the gateway needed the port for another",
    14: "the gateway suspended the port",
    15: "the gateway could not provide the service",
    16: "the gateway calls back",
    17: "an error of the user's input",
    18: "the host ended it",
}


@dataclass(slots=True)
class AccountingRequest(Request):
    """A checked Accounting-Request."""

    status: Status

    @property
    def octets(self) -> tuple[int, int]:
        """What came from the client and what went to it, Gigawords included (RFC 2869 5.1, 5.2)."""
        return (
            self._count(radius.ACCT_INPUT_GIGAWORDS) * 2**32 + self._count(radius.ACCT_INPUT_OCTETS),
            self._count(radius.ACCT_OUTPUT_GIGAWORDS) * 2**32 + self._count(radius.ACCT_OUTPUT_OCTETS),
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses the client has inside the tunnel; what is none is left out."""
        found = []
        for number, value in self.attributes:
            if number == radius.FRAMED_IP_ADDRESS and len(value) == 4:
                found.append(str(IPv4Address(value)))
            elif number == radius.FRAMED_IPV6_ADDRESS and len(value) == 16:
                found.append(str(IPv6Address(value)))
            elif number == radius.FRAMED_IPV6_PREFIX and len(value) == _IPV6_PREFIX_BYTES:
                found.append(str(IPv6Address(value[2:])))
        return tuple(found)

    @property
    def classes(self) -> tuple[bytes, ...]:
        """Every Class: the gateway copies all that an Access-Accept had (RFC 2865 5.25)."""
        return tuple(value for number, value in self.attributes if number == radius.CLASS)

    def _count(self, attribute: int) -> int:
        return self.find_integer(attribute) or 0


def explain_terminate_cause(number: int | None) -> str:
    """Why a session ended, in words."""
    if number is None:
        return "the gateway gave no cause"
    return _CAUSES.get(number, f"the gateway gave cause {number}")


def decode_accounting_request(data: bytes, secret: bytes) -> AccountingRequest:
    """Check and read an Accounting-Request. Raises PacketError for everything that is to be dropped."""
    data = cut_to_length(data, radius.Code.ACCOUNTING_REQUEST)
    # Not random as in an Access-Request: a hash over all of it with the secret (RFC 2866 3).
    expected = md5(data[:4] + _ZEROS + data[HEADER_BYTES:] + secret, usedforsecurity=False).digest()
    if not hmac.compare_digest(expected, data[4:HEADER_BYTES]):
        raise ForgedError("the Request Authenticator is wrong: does the shared secret differ?")
    attributes, signatures = split_attributes(data)
    if signatures:
        # The Request Authenticator is computed after it, so it counts as zeros (RFC 5176 3.4 says it of CoA).
        verify_signature(data, signatures, _ZEROS, secret)
    statuses = [value for number, value in attributes if number == radius.ACCT_STATUS_TYPE]
    try:
        (status,) = statuses
        known = Status(int.from_bytes(status, "big")) if len(status) == 4 else None
    except ValueError:
        known = None
    if known is None:
        raise PacketError("Acct-Status-Type is missing, repeated or not one we know")
    return AccountingRequest(
        identifier=data[1], authenticator=data[4:HEADER_BYTES], attributes=tuple(attributes), status=known
    )


def encode_accounting_response(request: Request, secret: bytes) -> bytes:
    """The answer, which says that it is stored, or that we are there. The same request always gets the same octets."""
    body = encode_proxy_states(request)
    start = struct.pack("!BBH", radius.Code.ACCOUNTING_RESPONSE, request.identifier, HEADER_BYTES + len(body))
    authenticator = md5(start + request.authenticator + body + secret, usedforsecurity=False).digest()
    return start + authenticator + body
