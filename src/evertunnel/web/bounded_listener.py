"""A listening socket for TLS: who shakes no hands makes room for who does.

asyncio gives each connection a minute for that, without an upper bound of their number: they would use up the process's
descriptors, and asyncio would log each that it then cannot accept, as fast as it can.
"""

import socket
import time
from collections import Counter
from typing import Any

from evertunnel.rate_limit import name_source

SHAKING_AT_MOST = 100


class _Connection(socket.socket):
    """One that was accepted. It is on its listener's list until hands were shaken or it is closed."""

    listener: "BoundedListener | None" = None

    def close(self) -> None:
        """Let go of it."""
        if self.listener is not None:
            self.listener.forget(self.fileno())
        super().close()


class BoundedListener(socket.socket):
    """Takes over a listening socket, which is of no use afterwards."""

    def __init__(self, listener: socket.socket, *, shaking_at_most: int = SHAKING_AT_MOST) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.detach())
        self._shaking_at_most = shaking_at_most
        self._shaking: dict[int, tuple[_Connection, str, float]] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; raises as any socket does."""
        accepted, address = super().accept()
        connection = _Connection(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        connection.listener = self
        if len(self._shaking) >= self._shaking_at_most:
            self._make_room()
        self._shaking[connection.fileno()] = connection, name_source(str(address[0])), time.monotonic()
        return connection, address

    def forget(self, descriptor: int) -> None:
        """Hands were shaken with this one, or it ended."""
        self._shaking.pop(descriptor, None)

    def _make_room(self) -> None:
        """End the oldest of the source with the most: asyncio sees the end of it and closes it."""
        counts = Counter(source for _connection, source, _at in self._shaking.values())
        descriptor, (connection, _source, _at) = min(
            self._shaking.items(), key=lambda item: (-counts[item[1][1]], item[1][2])
        )
        del self._shaking[descriptor]
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it ended by itself
