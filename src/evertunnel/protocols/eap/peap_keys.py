"""Keys and the crypto-binding TLV of PEAP version 0 ([MS-PEAP] 2.2.8, 3.1.5.5).

The binding proves that whoever holds the tunnel holds the keys of the method inside it. Without it somebody in the
middle can carry the inner method of a client that speaks it elsewhere through a tunnel of his own.
"""

import hmac
import struct

from evertunnel.protocols.eap.packet import Type

BINDING_TYPE, RESULT_TYPE = 12, 3
BINDING_REQUEST, BINDING_RESPONSE = 0, 1
NONCE_BYTES = 32
_VERSION = 0
_BINDING_BYTES = 56
_MAC_BYTES = 20
_BINDING = struct.Struct("!HHBBBB32s20s")
_ISK_BYTES, _IPMK_BYTES, _CMK_BYTES, _CSK_BYTES = 32, 40, 20, 128
_MSK_BYTES = 64


def derive_compound_keys(tunnel_key: bytes, inner_key: bytes) -> tuple[bytes, bytes]:
    """The intermediate key and the key of the compound MAC, from the tunnel's key material and the inner MSK."""
    inner = inner_key[:_ISK_BYTES].ljust(_ISK_BYTES, b"\0")
    keys = expand(tunnel_key[:_IPMK_BYTES], b"Inner Methods Compound Keys", inner, _IPMK_BYTES + _CMK_BYTES)
    return keys[:_IPMK_BYTES], keys[_IPMK_BYTES:]


def derive_master_session_key(intermediate_key: bytes) -> bytes:
    """The MSK of a login whose inner method is bound to the tunnel."""
    return expand(intermediate_key, b"Session Key Generating Function", b"\0", _CSK_BYTES)[:_MSK_BYTES]


def expand(key: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """PRF+ of [MS-PEAP] 3.1.5.5.2.2, with HMAC-SHA-1."""
    found = piece = b""
    number = 0
    while len(found) < length:
        number += 1
        piece = hmac.digest(key, piece + label + seed + bytes((number, 0, 0)), "sha1")
        found += piece
    return found[:length]


def build_binding(mac_key: bytes, nonce: bytes, *, subtype: int = BINDING_REQUEST) -> bytes:
    """The crypto-binding TLV."""
    head = (BINDING_TYPE, _BINDING_BYTES, 0, _VERSION, _VERSION, subtype, nonce)
    return _BINDING.pack(*head, _sign(mac_key, _BINDING.pack(*head, bytes(_MAC_BYTES))))


def is_binding_right(mac_key: bytes, binding: bytes) -> bool:
    """Whether a whole TLV of a peer is a response that only a holder of both keys can make."""
    if len(binding) != _BINDING.size:
        return False
    _type, _length, _reserved, version, received, subtype, _nonce, mac = _BINDING.unpack(binding)
    if (version, received, subtype) != (_VERSION, _VERSION, BINDING_RESPONSE):
        return False
    return hmac.compare_digest(mac, _sign(mac_key, binding[:-_MAC_BYTES] + bytes(_MAC_BYTES)))


def _sign(mac_key: bytes, binding: bytes) -> bytes:
    return hmac.digest(mac_key, binding + bytes((Type.PEAP,)), "sha1")
