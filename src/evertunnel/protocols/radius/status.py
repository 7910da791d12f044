"""Status-Server (RFC 5997): a gateway asks whether we are there, on the port whose service it means."""

from evertunnel.protocols.radius.attributes import MESSAGE_AUTHENTICATOR, Code
from evertunnel.protocols.radius.packet import (
    HEADER_BYTES,
    PacketError,
    Request,
    cut_to_length,
    verify_signature,
    walk_attributes,
)


def is_status_server(data: bytes) -> bool:
    """Whether a datagram says that it is one."""
    return data[:1] == bytes((Code.STATUS_SERVER,))


def decode_status_server(data: bytes, secret: bytes) -> Request:
    """Check and read one. Raises PacketError for everything that is to be dropped (RFC 5997 3)."""
    data = cut_to_length(data, Code.STATUS_SERVER)
    walked = list(walk_attributes(data))
    signatures = [value_at for number, value_at, _ in walked if number == MESSAGE_AUTHENTICATOR]
    if len(signatures) != 1:
        raise PacketError("Message-Authenticator is missing or repeated")
    verify_signature(data, signatures[0], data[4:HEADER_BYTES], secret)
    return Request(
        identifier=data[1],
        authenticator=data[4:HEADER_BYTES],
        attributes=tuple((number, value) for number, _, value in walked if number != MESSAGE_AUTHENTICATOR),
    )
