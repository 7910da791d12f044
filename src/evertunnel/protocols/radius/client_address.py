"""Where a client comes from, as gateways write it into Calling-Station-Id (RFC 2865 5.31 leaves the form open)."""

import re

from evertunnel.protocols.radius.attributes import CALLING_STATION_ID
from evertunnel.protocols.radius.packet import Request

_AT_MOST = 64
_COLON_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|(\d+(?:\.\d+){3})):(\d+)|\[([0-9A-Fa-f:.]+)\]", re.ASCII)


def read_client_address(request: Request) -> str:
    """As it stands, cut at 64 characters; empty when absent.

    A port is written as strongSwan does, `192.0.2.7[4500]`, whoever wrote `192.0.2.7:4500` or `[2001:db8::7]:4500`:
    the client chooses it, so one who counts by address has to know it for a port.
    """
    text = request.find_text(CALLING_STATION_ID).strip().replace("\0", "\ufffd")[:_AT_MOST]  # PostgreSQL takes no NUL
    if ":" not in text or (found := _COLON_PORT.fullmatch(text)) is None:
        return text
    six, four, port, bare = found.groups()
    return bare or f"{six or four}[{port}]"
