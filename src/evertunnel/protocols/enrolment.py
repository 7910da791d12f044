"""What a device signs when it asks for a short-lived certificate. Both ends build it from this one function."""

import hashlib
import struct

_PURPOSE = b"evertunnel short-lived certificate request 1"


def build_signed_text(*, nonce: bytes, user_name: str, csr_der: bytes) -> bytes:
    """Purpose, the server's nonce, user and request, each with its length: none can be exchanged for another."""
    parts = (_PURPOSE, nonce, user_name.encode(), hashlib.sha256(csr_der).digest())
    return b"".join(struct.pack("!I", len(part)) + part for part in parts)
