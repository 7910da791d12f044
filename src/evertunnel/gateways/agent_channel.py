"""Messages over a TLS pipe: whole, in order, bounded, and each finished soon after it began."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from evertunnel.gateways.tls_pipe import TLSPipe
from evertunnel.protocols.agent.frames import FRAME_BYTES, FrameError, FrameReader, encode_frame
from evertunnel.protocols.agent.messages import REVISION, Message, encode_message

_FRAME_WITHIN_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 0.5

Kind = TypeVar("Kind")


class Channel(Generic[Kind]):
    """`decode` makes messages of what comes, and says what may come."""

    def __init__(self, pipe: TLSPipe, decode: Callable[[bytes], Kind]) -> None:
        self._pipe = pipe
        self._decode = decode
        self._reader = FrameReader()
        self._began = 0.0

    def trust(self) -> None:
        """The peer has proven who it is: longer messages may come."""
        self._reader.limit = FRAME_BYTES

    @property
    def is_revised(self) -> bool:
        """Whether both ends know the revision of the messages."""
        return self._pipe.get_protocol() == REVISION

    def send(self, message: Message, within_seconds: float = 5.0) -> None:
        """Raises PipeClosedError."""
        self._pipe.send(encode_frame(encode_message(message)), within_seconds)

    def receive(self, within_seconds: float) -> Kind | None:
        """The next message; None when none came within the time. Raises PipeClosedError, FrameError."""
        deadline = time.monotonic() + within_seconds
        while True:
            if (body := self._reader.take()) is not None:
                self._began = 0.0
                return self._decode(body)
            now = time.monotonic()
            if self._reader.is_inside:
                self._began = self._began or now
                if now - self._began > _FRAME_WITHIN_SECONDS:
                    raise FrameError("a message was begun and not finished")
            if now >= deadline:
                return None
            data = self._pipe.receive(min(_LOOK_EVERY_SECONDS, deadline - now))
            self._reader.feed(data)

    def close(self) -> None:
        """Hang up; wakes whoever waits."""
        self._pipe.close()

    def dispose(self) -> None:
        """Let go of the socket. For the thread that receives, at its end."""
        self._pipe.dispose()
