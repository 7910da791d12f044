"""The enrolment code of a gateway on another host: what its agent needs to dial, and to trust nobody on first use.

`evt1-` and, in base64url without padding: 16 bytes of secret, the SHA-256 of the root's certificate, the port, the
gateway's name and the server's address (a length byte each), and 4 bytes of SHA-256 over all that, for typing errors.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

SECRET_BYTES = 16
_PREFIX = "evt1-"
_FINGERPRINT_BYTES = 32
_CHECK_BYTES = 4
_LONGEST = 800


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """What a code says. `address` is a name or a number under which the server is reached."""

    secret: bytes
    root_fingerprint: bytes
    gateway: str
    address: str
    port: int

    def __repr__(self) -> str:
        """Without the secret: it must not reach a log."""
        return f"EnrolmentCode(gateway={self.gateway!r}, address={self.address!r}, port={self.port})"


def encode_code(code: EnrolmentCode) -> str:
    """As it is shown to an administrator. Raises ValueError for names too long for it."""
    if len(code.secret) != SECRET_BYTES or len(code.root_fingerprint) != _FINGERPRINT_BYTES:
        raise ValueError("a secret has 16 bytes and a fingerprint 32")
    texts = [text.encode("ascii") for text in (code.gateway, code.address)]
    if any(not 0 < len(text) < 256 for text in texts):
        raise ValueError("a name in an enrolment code has 1 to 255 characters")
    body = code.secret + code.root_fingerprint + struct.pack("!H", code.port)
    body += b"".join(bytes([len(text)]) + text for text in texts)
    return _PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")


def decode_code(text: str) -> EnrolmentCode:
    """The code in a text; blanks and line breaks in it do not matter. Raises ValueError."""
    text = "".join(text.split())
    if not text.startswith(_PREFIX):
        raise ValueError(f"an enrolment code begins with {_PREFIX}")
    if len(text) > _LONGEST:
        raise ValueError("this is longer than an enrolment code")
    encoded = text.removeprefix(_PREFIX)
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the enrolment code is not complete, or was typed wrong") from None
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if _check(body) != check:
        raise ValueError("the enrolment code is not complete, or was typed wrong")
    head = SECRET_BYTES + _FINGERPRINT_BYTES
    try:
        (port,) = struct.unpack("!H", body[head : head + 2])
        gateway, rest = _take_text(body[head + 2 :])
        address, rest = _take_text(rest)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ValueError("the enrolment code is not complete, or was typed wrong") from None
    if rest or port == 0:
        raise ValueError("the enrolment code is of another version")
    return EnrolmentCode(body[:SECRET_BYTES], body[SECRET_BYTES:head], gateway, address, port)


def hash_secret(secret: bytes) -> bytes:
    """What is stored of a code. 128 random bits need neither salt nor a slow hash."""
    return hashlib.sha256(b"evertunnel enrolment code" + secret).digest()


def _take_text(data: bytes) -> tuple[str, bytes]:
    end = 1 + data[0]
    if len(data) < end or end == 1:
        raise IndexError
    return data[1:end].decode("ascii"), data[end:]


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]
