"""uvicorn's HTTP for strangers: bounded heads, requests in time, and who does least makes room for who comes.

uvicorn bounds heads with h11 only, counts a connection that never asks anything like any other, and closes it never.
"""

import asyncio
import time
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from evertunnel.rate_limit import name_source
from evertunnel.web.bounded_listener import BoundedListener

# All of a request but its body: the line, headers, sizes of chunks, trailers.
_HEAD_BYTES_AT_MOST = 32 * 1024
# Requests that come before the one before them was answered: no client of ours does that, and each is kept in memory.
_WAITING_AT_MOST = 8


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    REQUEST_WITHIN_SECONDS: ClassVar[float] = 15.0
    """From the first byte, or the connection, to the end of the body; bodies.py gives up before and says so."""
    ANSWER_READ_WITHIN_SECONDS: ClassVar[float] = 60.0
    listener: ClassVar[BoundedListener | None] = None
    """Where it comes from, if hands had to be shaken."""

    _clock: asyncio.TimerHandle | None = None
    _head_bytes = 0
    is_asking = True
    """Whether there is no whole request of it that would be answered now."""

    def connection_made(self, transport: Any) -> None:
        """A connection begins."""
        self.began_at = time.monotonic()
        # Where there are as many as the limit, uvicorn answers nobody.
        if self.limit_concurrency is not None and len(self.connections) + 1 >= self.limit_concurrency:
            self._make_room()
        super().connection_made(transport)
        if self.listener is not None:
            self.listener.forget(transport.get_extra_info("socket").fileno())
        self.source = name_source(self.client[0]) if self.client else ""
        self._give(self.REQUEST_WITHIN_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > _HEAD_BYTES_AT_MOST:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins. Raises ValueError, which ends the connection, for one more that came before answers."""
        if len(self.pipeline) >= _WAITING_AT_MOST:
            raise ValueError("too many requests at once")
        super().on_message_begin()
        self._head_bytes = 0
        if self.is_asking:
            self.began_at = time.monotonic()
            self._give(self.REQUEST_WITHIN_SECONDS)

    def on_body(self, body: bytes) -> None:
        """A part of a body, which whoever reads it bounds."""
        self._head_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; answering it takes as long as it takes."""
        super().on_message_complete()
        self._head_bytes = 0
        if not self.cycle.response_complete:
            self.is_asking = False
            self._stop_clock()

    def on_response_complete(self) -> None:
        """The answer was handed to the kernel, or waits for a client that reads nothing."""
        super().on_response_complete()
        if self.cycle.response_complete or self.cycle.more_body:  # or the next request, which came with the one before
            self.is_asking = True
            self.began_at = time.monotonic()
            answered = self.cycle.response_complete
            self._give(self.ANSWER_READ_WITHIN_SECONDS if answered else self.REQUEST_WITHIN_SECONDS)

    def _make_room(self) -> None:
        """End a connection that asks nothing now: the oldest of the source with the most of those."""
        asking = [each for each in self.connections if isinstance(each, BoundedProtocol) and each.is_asking]
        if not asking:
            return
        counts = Counter(each.source for each in asking)
        ended = min(asking, key=lambda each: (-counts[each.source], each.began_at))
        self.connections.discard(ended)
        ended.transport.abort()

    def _give(self, seconds: float) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def build_protocol(bounded: BoundedListener) -> type[BoundedProtocol]:
    """For connections of a listener with TLS."""

    class _Shaken(BoundedProtocol):
        listener = bounded

    return _Shaken
