"""Status-Server (RFC 5997): a gateway asks whether we are there, on the port whose service it means."""

from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.packet import (
    HEADER_BYTES,
    Request,
    cut_to_length,
    split_attributes,
    verify_signature,
)

_STATUS_SERVER = bytes((Code.STATUS_SERVER,))


def is_status_server(data: bytes) -> bool:
    """Whether a datagram says that it is one."""
    return data[:1] == _STATUS_SERVER


def decode_status_server(data: bytes, secret: bytes) -> Request:
    """Check and read one. Raises PacketError for everything that is to be dropped (RFC 5997 3)."""
    data = cut_to_length(data, Code.STATUS_SERVER)
    attributes, signatures = split_attributes(data)
    authenticator = data[4:HEADER_BYTES]
    verify_signature(data, signatures, authenticator, secret)
    return Request(data[1], authenticator, tuple(attributes))
