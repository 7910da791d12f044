"""Values hidden under the shared secret: the MS-MPPE keys of an Access-Accept (RFC 2548 2.4.2, 2.4.3)."""

from hashlib import md5

from evertunnel.protocols.radius.attributes import MS_MPPE_RECV_KEY, MS_MPPE_SEND_KEY, VENDOR_MICROSOFT
from evertunnel.protocols.radius.packet import encode_vendor_attribute


def encode_session_keys(
    master_session_key: bytes, *, secret: bytes, request_authenticator: bytes, salts: tuple[int, int]
) -> list[tuple[int, bytes]]:
    """The two halves of an EAP MSK as MS-MPPE-Recv-Key and MS-MPPE-Send-Key.

    The first 32 octets are what the gateway receives with (RFC 5216 2.3), of a shorter MSK the first half (RFC 3079,
    RFC 2548 2.4.2). `salts` are two different random 15-bit numbers; the top bit is set here.
    """
    half = min(32, len(master_session_key) // 2)
    if salts[0] == salts[1]:
        raise ValueError("the two salts of one packet must differ (RFC 2548 2.4.2)")
    return [
        encode_vendor_attribute(
            VENDOR_MICROSOFT,
            number,
            hide_key(key, secret=secret, authenticator=request_authenticator, salt=salt),
        )
        for number, key, salt in (
            (MS_MPPE_RECV_KEY, master_session_key[:half], salts[0]),
            (MS_MPPE_SEND_KEY, master_session_key[half : 2 * half], salts[1]),
        )
    ]


def hide_key(key: bytes, *, secret: bytes, authenticator: bytes, salt: int) -> bytes:
    """Salt and hidden key: length octet and key, padded to 16, under a chain of MD5 (RFC 2548 2.4.2)."""
    salt_bytes = (salt | 0x8000).to_bytes(2, "big")
    plain = bytes((len(key),)) + key
    plain += bytes(-len(plain) % 16)
    hidden = bytearray()
    previous = authenticator + salt_bytes
    for start in range(0, len(plain), 16):
        pad = md5(secret + previous, usedforsecurity=False).digest()
        block = (int.from_bytes(plain[start : start + 16], "big") ^ int.from_bytes(pad, "big")).to_bytes(16, "big")
        hidden += block
        previous = block
    return salt_bytes + bytes(hidden)
