"""What a device signs when it asks for a short-lived certificate or reports its posture. Both ends build it here."""

import hashlib
import struct

_PURPOSE = b"evertunnel short-lived certificate request 1"
_REPORT_PURPOSE = b"evertunnel posture report 1"


def build_signed_text(*, nonce: bytes, user_name: str, csr_der: bytes) -> bytes:
    """Purpose, the server's nonce, user and request, each with its length: none can be exchanged for another."""
    return _join(_PURPOSE, nonce, user_name.encode(), hashlib.sha256(csr_der).digest())


def build_signed_report(*, nonce: bytes, posture_json: bytes) -> bytes:
    """The same for a report of posture. The nonce makes it one report of this moment, which nobody can send again."""
    return _join(_REPORT_PURPOSE, nonce, hashlib.sha256(posture_json).digest())


def _join(*parts: bytes) -> bytes:
    return b"".join(struct.pack("!I", len(part)) + part for part in parts)
