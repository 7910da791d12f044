"""Frames: four bytes of length, big endian, and as many bytes of JSON. Bounded before anything is kept."""

import struct

_LENGTH = struct.Struct("!I")

# Before a peer has proven who it is; what an agent sends (tunnels, a part at a time); what the server sends.
FIRST_FRAME_BYTES = 24 * 1024
FRAME_BYTES = 512 * 1024


class FrameError(ValueError):
    """The peer does not keep to the protocol; the connection is of no more use."""


def encode_frame(body: bytes) -> bytes:
    """Raises FrameError for one that no peer would take."""
    if not 0 < len(body) <= FRAME_BYTES:
        raise FrameError(f"a frame has 1 to {FRAME_BYTES} bytes, not {len(body)}")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Puts frames together from whatever pieces they come in."""

    def __init__(self, limit: int = FIRST_FRAME_BYTES) -> None:
        self.limit = limit
        self._data = bytearray()

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._data)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._data += data

    def take(self) -> bytes | None:
        """The next whole frame, if there is one. Raises FrameError as soon as a length is out of bounds."""
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        if not 0 < length <= self.limit:
            raise FrameError(f"a frame of {length} bytes was announced; {self.limit} are allowed here")
        end = _LENGTH.size + length
        if len(self._data) < end:
            return None
        body = bytes(self._data[_LENGTH.size : end])
        del self._data[:end]
        return body
