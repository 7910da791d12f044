"""MD4 (RFC 1320), which NT hashes are made with. It is broken, and no library we keep offers it any more."""

import struct

_WORD = 0xFFFFFFFF
_BLOCK_BYTES = 64
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
# Round by round: the constant that is added, the order of the words, how far is turned.
_ROUNDS = (
    (0x00000000, tuple(range(16)), (3, 7, 11, 19)),
    (0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
    (0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
)


def hash_md4(data: bytes) -> bytes:
    """The 16 octets."""
    padding = b"\x80" + bytes(-(len(data) + 9) % _BLOCK_BYTES)
    padded = data + padding + struct.pack("<Q", len(data) * 8)
    state = _START
    for start in range(0, len(padded), _BLOCK_BYTES):
        state = _mix(state, struct.unpack_from("<16I", padded, start))
    return struct.pack("<4I", *state)


def _mix(state: tuple[int, int, int, int], words: tuple[int, ...]) -> tuple[int, int, int, int]:
    a, b, c, d = state
    for number, (constant, order, turns) in enumerate(_ROUNDS):
        for step, index in enumerate(order):
            if number == 0:
                mixed = (b & c) | (~b & d)
            elif number == 1:
                mixed = (b & c) | (b & d) | (c & d)
            else:
                mixed = b ^ c ^ d
            total = (a + (mixed & _WORD) + words[index] + constant) & _WORD
            turn = turns[step % 4]
            a, b, c, d = d, ((total << turn) | (total >> (32 - turn))) & _WORD, b, c
    return tuple((old + new) & _WORD for old, new in zip(state, (a, b, c, d), strict=True))  # type: ignore[return-value]
