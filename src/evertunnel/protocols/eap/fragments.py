"""EAP-TLS data of any length in EAP packets of bounded length (RFC 5216 2.1.5, 3.1).

Incoming: one message at a time, its total length believed once and bounded. Outgoing: one fragment is in
flight, the next goes out when the peer acknowledges with an empty packet.
"""

import struct

from evertunnel.protocols.eap.packet import EAPError

LENGTH_INCLUDED = 0x80
MORE_FRAGMENTS = 0x40
START = 0x20

# A chain of 16 KiB is the longest we hear of (Windows sends whole chains); twice that is plenty.
MAXIMUM_MESSAGE_BYTES = 64 * 1024
_FLAGS_BYTES, _LENGTH_BYTES = 1, 4


class IncomingMessage:
    """Puts fragments together."""

    __slots__ = ("_parts", "_promised", "_received")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._received = 0
        self._promised: int | None = None

    @property
    def began(self) -> bool:
        """Whether a part of a message is here and the rest is not."""
        return bool(self._parts)

    def add(self, data: bytes) -> bytes | None:
        """Take the EAP-TLS data of one packet. Returns the whole message when it is complete, else None.

        An empty message is an acknowledgement. Raises EAPError when a length lies or is too large.
        """
        if not data:
            raise EAPError("EAP-TLS packet without flags")
        flags = data[0]
        if flags & START:
            raise EAPError("a peer may not set the start flag")
        body = data[1:]
        if flags & LENGTH_INCLUDED:
            if len(body) < 4:
                raise EAPError("EAP-TLS length is cut off")
            (promised,) = struct.unpack_from("!I", body)
            body = body[4:]
            if self._promised is None and not self._parts:
                if promised > MAXIMUM_MESSAGE_BYTES:
                    raise EAPError(f"EAP-TLS message of {promised} octets is too long")
                self._promised = promised
            elif promised != self._promised:
                raise EAPError("EAP-TLS length changed between fragments")
        more = bool(flags & MORE_FRAGMENTS)
        if more and not body:
            raise EAPError("an empty EAP-TLS fragment promises more")
        self._received += len(body)
        if self._received > (MAXIMUM_MESSAGE_BYTES if self._promised is None else self._promised):
            raise EAPError("EAP-TLS message is longer than promised")
        self._parts.append(body)
        if more:
            return None
        if self._promised is not None and self._received != self._promised:
            raise EAPError("EAP-TLS message is shorter than promised")
        message = b"".join(self._parts)
        self._parts.clear()
        self._received, self._promised = 0, None
        return message


class OutgoingMessage:
    """Cuts a message into fragments."""

    def __init__(self, message: bytes, *, packet_bytes: int) -> None:
        """`packet_bytes` bounds the EAP-TLS data of one packet: flags, length and TLS octets."""
        self._message = message
        self._sent = 0
        # What fits whole needs no length before it.
        whole = len(message) + _FLAGS_BYTES <= packet_bytes
        self._piece_bytes = max(packet_bytes - _FLAGS_BYTES - (0 if whole else _LENGTH_BYTES), 1)

    def next_fragment(self) -> bytes:
        """The EAP-TLS data of the next packet."""
        first = self._sent == 0
        piece = self._message[self._sent : self._sent + self._piece_bytes]
        self._sent += len(piece)
        flags = 0 if self.finished else MORE_FRAGMENTS
        if first and flags:
            return struct.pack("!BI", flags | LENGTH_INCLUDED, len(self._message)) + piece
        return bytes((flags,)) + piece

    @property
    def finished(self) -> bool:
        """Whether all of it was handed out."""
        return self._sent >= len(self._message)
