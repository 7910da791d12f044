"""A gateway's side of RADIUS: well-formed requests and checked replies by pyrad, malformed ones by hand."""

import hmac
import io
import struct
from collections.abc import Iterable

from pyrad import packet as pyrad
from pyrad.dictionary import Dictionary

USER_NAME, FRAMED_MTU, STATE, CLASS, VENDOR_SPECIFIC = 1, 12, 24, 25, 26
SESSION_TIMEOUT, CALLING_STATION_ID, PROXY_STATE, NAS_PORT = 27, 31, 33, 5
EAP_MESSAGE, MESSAGE_AUTHENTICATOR = 79, 80
ACCEPT, REJECT, CHALLENGE = pyrad.AccessAccept, pyrad.AccessReject, pyrad.AccessChallenge

Attributes = Iterable[tuple[int, bytes]]

# pyrad hides and reveals salted values by this flag (RFC 2868 3.5, the same as RFC 2548 2.4.2).
_DICTIONARY = Dictionary(
    io.StringIO("""\
VENDOR Microsoft 311
BEGIN-VENDOR Microsoft
ATTRIBUTE MS-MPPE-Send-Key 16 octets encrypt=2
ATTRIBUTE MS-MPPE-Recv-Key 17 octets encrypt=2
END-VENDOR Microsoft
""")
)


def split_eap(eap: bytes) -> list[tuple[int, bytes]]:
    """An EAP message as EAP-Message attributes (RFC 3579 3.1)."""
    return [(EAP_MESSAGE, eap[at : at + 253]) for at in range(0, max(len(eap), 1), 253)]


def build_request(secret: bytes, attributes: Attributes, *, identifier: int | None = None) -> bytes:
    """An Access-Request as pyrad writes it, signed."""
    request = pyrad.AuthPacket(id=identifier, secret=secret, dict=_DICTIONARY)
    for number, value in attributes:
        request.setdefault(number, []).append(value)
    request.add_message_authenticator()
    return bytes(request.RequestPacket())


def read_reply(secret: bytes, request: bytes, reply: bytes) -> pyrad.AuthPacket:
    """A reply as pyrad reads it; it must belong to the request and be signed."""
    asked = pyrad.AuthPacket(secret=secret, dict=_DICTIONARY, packet=request)
    answered: pyrad.AuthPacket = asked.CreateReply(packet=reply)
    answered.request_authenticator = request[4:20]
    assert asked.VerifyReply(answered, reply, enforce_ma=True), "the reply is not signed, or not for this request"
    return answered


def read_session_keys(reply: pyrad.AuthPacket) -> bytes:
    """The MSK of an Access-Accept: what the gateway receives with, then what it sends with (RFC 5216 2.3)."""
    return bytes(reply["MS-MPPE-Recv-Key"][0] + reply["MS-MPPE-Send-Key"][0])


def join_eap(reply: pyrad.AuthPacket) -> bytes:
    """The EAP message of a reply."""
    return b"".join(reply.get(EAP_MESSAGE, []))


def encode_attributes(attributes: Attributes) -> bytes:
    """Attributes in the order given."""
    return b"".join(bytes((number, len(value) + 2)) + value for number, value in attributes)


def sign(
    secret: bytes,
    attributes: bytes,
    *,
    code: int = 1,
    identifier: int = 7,
    authenticator: bytes = bytes(range(16)),
    length: int | None = None,
    trailing: bytes = b"",
) -> bytes:
    """A packet of attribute octets as they are, lies included, with a right Message-Authenticator at their end.

    `length` is what the header claims; `trailing` octets follow the signed packet.
    """
    size = 20 + len(attributes) + 18 if length is None else length
    header = struct.pack("!BBH", code, identifier, size) + authenticator
    signature_header = bytes((MESSAGE_AUTHENTICATOR, 18))
    body = header + attributes + signature_header + bytes(16)
    signed = (body + trailing)[:size] if size <= len(body) + len(trailing) else body
    return header + attributes + signature_header + hmac.digest(secret, signed, "md5") + trailing
