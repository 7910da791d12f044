"""The alert access_denied, for a peer whose handshake is complete and whose decision was no.

RFC 5216 2.1.3 and RFC 9190 2.1.4 want a refused peer to be told before the EAP-Failure.

OpenSSL sends alerts of its own judgement only, and here the judgement is a policy's. In TLS 1.2 our ChangeCipherSpec
was not sent yet, so the alert goes in the clear. In TLS 1.3 it is one record under the server's first application
traffic key. Nothing else is ever sent under that key: what OpenSSL had ready for the peer is thrown away.
"""

import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_ALERT, _APPLICATION_DATA = 21, 23
_FATAL_ACCESS_DENIED = bytes((2, 49))
_VERSION = b"\x03\x03"
_IV_BYTES, _TAG_BYTES = 12, 16

# RFC 8446 B.4: hash of the key schedule, length of the key, and the cipher.
_CIPHERS: dict[str, tuple[hashes.SHA256 | hashes.SHA384, int, type[AESGCM] | type[ChaCha20Poly1305]]] = {
    "TLS_AES_128_GCM_SHA256": (hashes.SHA256(), 16, AESGCM),
    "TLS_AES_256_GCM_SHA384": (hashes.SHA384(), 32, AESGCM),
    "TLS_CHACHA20_POLY1305_SHA256": (hashes.SHA256(), 32, ChaCha20Poly1305),
}


def encode_plain_alert() -> bytes:
    """The record in the clear (RFC 5246 7.2)."""
    return struct.pack("!B2sH", _ALERT, _VERSION, len(_FATAL_ACCESS_DENIED)) + _FATAL_ACCESS_DENIED


def encode_sealed_alert(cipher_name: str, traffic_secret: bytes) -> bytes:
    """The first record under a TLS 1.3 traffic secret (RFC 8446 5.2, 7.3). Raises KeyError for an unknown cipher."""
    algorithm, key_bytes, cipher_class = _CIPHERS[cipher_name]
    key = _expand_label(traffic_secret, b"key", key_bytes, algorithm)
    nonce = _expand_label(traffic_secret, b"iv", _IV_BYTES, algorithm)  # record number 0 leaves it as it is
    plain = _FATAL_ACCESS_DENIED + bytes((_ALERT,))
    header = struct.pack("!B2sH", _APPLICATION_DATA, _VERSION, len(plain) + _TAG_BYTES)
    cipher = cipher_class(key)
    return header + cipher.encrypt(nonce, plain, header)


def _expand_label(secret: bytes, label: bytes, length: int, algorithm: hashes.SHA256 | hashes.SHA384) -> bytes:
    full_label = b"tls13 " + label
    info = struct.pack("!HB", length, len(full_label)) + full_label + b"\x00"
    return HKDFExpand(algorithm, length, info).derive(secret)
