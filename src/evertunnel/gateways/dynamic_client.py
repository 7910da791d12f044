"""Sends Disconnect- and CoA-Requests to one gateway and waits for what it says (RFC 5176)."""

import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import randbelow

from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.dynamic_authorization import (
    DynamicAnswer,
    DynamicRequest,
    decode_dynamic_answer,
    encode_dynamic_request,
)
from evertunnel.protocols.radius.packet import PacketError

# A request leaves again unchanged after so many seconds each, and is given up after the last (RFC 5080 2.2.1).
_WAITS_SECONDS = (0.5, 1.0, 2.0, 3.0)
# One octet names a request: these many wait at once, and no name comes again while an answer may still be on its way.
_AT_ONCE = 64
_ANSWER_BYTES = 4096 + 1

Wish = tuple[Code, Sequence[tuple[int, bytes]]]


@dataclass(slots=True)
class _Waiting:
    position: int
    secret: bytes = field(repr=False)
    request: DynamicRequest
    again_at: float
    tries: int = 1


class DynamicClient:
    """For one thread. The kernel passes on what comes from the gateway's address and port, and nothing else.

    `secrets` are two while one is rotated: nobody tells us which of them the gateway has, so it is asked under each,
    and hears the one that it knows.
    """

    def __init__(self, address: str, port: int, secrets: Sequence[bytes], clock: Callable[[], datetime]) -> None:
        self._address = address, port
        self._secrets = secrets
        self._clock = clock
        self._next = randbelow(256)

    def ask(self, wishes: Sequence[Wish]) -> list[DynamicAnswer | None]:
        """The answer to each, in their order; None where none came. Raises OSError without a way there.

        When the first ones all find silence the rest is not asked: there is nobody.
        """
        answers: list[DynamicAnswer | None] = [None] * len(wishes)
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as wire:
            wire.setblocking(False)
            wire.connect(self._address)  # another source than this one is not heard
            waiting: dict[int, _Waiting] = {}
            left = [(position, secret) for position in range(len(wishes)) for secret in self._secrets][::-1]
            heard = False
            while left or waiting:
                uptime = time.monotonic()
                while left and len(waiting) < _AT_ONCE:
                    position, secret = left.pop()
                    if answers[position] is not None:
                        continue
                    # While one waits for its repetition, hundreds may come and go.
                    names = ((self._next + step) % 256 for step in range(1, 257))
                    self._next = next(name for name in names if name not in waiting)
                    waiting[self._next] = self._send_first(wire, position, wishes[position], secret, uptime)
                heard = self._receive(wire, waiting, answers) or heard
                for each in list(waiting.values()):
                    if uptime < each.again_at:
                        continue
                    if each.tries > len(_WAITS_SECONDS) - 1:
                        del waiting[each.request.identifier]
                        if not heard:
                            left = []
                        continue
                    _send(wire, each.request.data)
                    each.again_at = uptime + _WAITS_SECONDS[each.tries]
                    each.tries += 1
        return answers

    def _send_first(self, wire: socket.socket, position: int, wish: Wish, secret: bytes, uptime: float) -> _Waiting:
        code, attributes = wish
        request = encode_dynamic_request(
            code, self._next, attributes, secret=secret, timestamp=int(self._clock().timestamp())
        )
        _send(wire, request.data)
        return _Waiting(position, secret, request, uptime + _WAITS_SECONDS[0])

    def _receive(self, wire: socket.socket, waiting: dict[int, _Waiting], answers: list[DynamicAnswer | None]) -> bool:
        """Take what came, waiting until the first of them is due again. True: something was right."""
        if not waiting:
            return False
        heard = False
        wait = min(each.again_at for each in waiting.values()) - time.monotonic()
        if not select.select([wire], [], [], max(0.0, wait))[0]:
            return False
        for _ in range(_AT_ONCE):
            try:
                data = wire.recv(_ANSWER_BYTES)
            except BlockingIOError:
                break
            except OSError:  # told by the network that nobody listens there; perhaps somebody soon does
                break
            found = waiting.get(data[1]) if len(data) > 1 else None
            if found is None:
                continue
            try:
                answers[found.position] = decode_dynamic_answer(data, found.request, found.secret)
            except PacketError:  # forged, or of another time
                continue
            for name in [name for name, each in waiting.items() if each.position == found.position]:
                del waiting[name]
            heard = True
        return heard


def _send(wire: socket.socket, data: bytes) -> None:
    """The network may lose it, so a failure is the same as loss."""
    try:
        wire.send(data)
    except (BlockingIOError, ConnectionRefusedError):
        return
