"""One UDP port served by several workers: a socket for each, and pairs of sockets to hand packets over.

All is made before the workers are forked and stays open in the supervisor. So the kernel's choice of a socket never
changes, packets for a worker that died wait for the next one, and that one reads what was handed over meanwhile.
"""

import socket
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import structlog

from evertunnel.servers.logins import Address, Reply
from evertunnel.servers.steering import steer
from evertunnel.servers.workers import Place

_RECEIVE_BYTES = 4096 + 1  # one more than RADIUS allows, to see that a datagram was too long
_HANDED_OVER_BYTES = _RECEIVE_BYTES + 128
_PACKETS_AT_ONCE = 128
_KERNEL_BUFFER_BYTES = 4 * 1024 * 1024

log = structlog.get_logger()

Arrival = tuple[bytes, Address, bool]


class Port:
    """One worker's side of a port."""

    def __init__(
        self, listener: socket.socket, inbox: socket.socket | None = None, outboxes: Sequence[socket.socket] = ()
    ) -> None:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER_BYTES)
        self._listener = listener
        self._inbox = inbox
        self._outboxes = outboxes
        self._dropped: Counter[str] = Counter()

    @property
    def sockets(self) -> list[socket.socket]:
        """What packets come from, for poll."""
        return [self._listener] if self._inbox is None else [self._listener, self._inbox]

    def receive(self, ready: Collection[int]) -> list[Arrival]:
        """Datagrams that wait at descriptors that poll called ready: octets, source, whether it was handed over.

        All are taken before any is answered: who answers at once would else look like a long queue, and delay commits.
        """
        arrivals: list[Arrival] = []
        if self._inbox is not None and self._inbox.fileno() in ready:
            arrivals += self._take_handed_over(self._inbox)
        if self._listener.fileno() in ready:
            for _ in range(_PACKETS_AT_ONCE):
                try:
                    data, source = self._listener.recvfrom(_RECEIVE_BYTES)
                except BlockingIOError:
                    break
                arrivals.append((data, source, False))
        return arrivals

    @staticmethod
    def _take_handed_over(inbox: socket.socket) -> Iterator[Arrival]:
        for _ in range(_PACKETS_AT_ONCE):
            try:
                data, source = decode_handed_over(inbox.recv(_HANDED_OVER_BYTES))
            except BlockingIOError:
                return
            yield data, source, True

    def hand_over(self, worker: int, arrival: Arrival) -> None:
        """Give a packet that was checked to the worker that answers it. One hop, and nobody waits for a slow worker."""
        data, source, handed_over = arrival
        if handed_over:
            self._dropped["handed_over_twice"] += 1
            return
        try:
            self._outboxes[worker].send(encode_handed_over(data, source))
        except OSError:  # full: the gateway repeats it
            self._dropped["not_handed_over"] += 1

    def send(self, reply: Reply) -> None:
        """The network may lose it, so a failure is the same as loss."""
        try:
            self._listener.sendto(reply.data, reply.destination)
        except OSError as error:
            log.warning("cannot send", destination=reply.destination[0], error=str(error))

    def steer(self, awake: int) -> None:
        """Have the kernel give packets that continue nothing to the first `awake` workers."""
        if not self._outboxes:
            return
        try:
            steer(self._listener, awake)
        except OSError as error:  # said when it began, if it is so from the beginning
            log.debug("the kernel does not steer packets to workers", error=str(error))

    def take_dropped(self) -> dict[str, int]:
        """How many packets could not be handed over since this was asked last, by reason."""
        dropped, self._dropped = self._dropped, Counter()
        return dict(dropped)


class SharedPort:
    """The sockets of all workers, before the fork. A single worker has its socket and nothing else."""

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], count: int) -> None:
        """Raises OSError: in use, no right, no such address."""
        self._listeners: list[socket.socket] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        try:
            self._bind(family, address, count)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """All of them, in this process."""
        for each in [*self._listeners, *(end for pair in self._pairs for end in pair)]:
            each.close()

    def list_sockets(self, place: Place) -> list[socket.socket]:
        """What a worker keeps after the fork. Nobody reads another one's packets."""
        own = [self._listeners[place.number]]
        return [*own, self._pairs[place.number][0], *self._outboxes] if self._pairs else own

    def open(self, place: Place) -> Port:
        """A worker's side of it."""
        return Port(
            self._listeners[place.number], self._pairs[place.number][0] if self._pairs else None, self._outboxes
        )

    @property
    def _outboxes(self) -> list[socket.socket]:
        return [outbox for _, outbox in self._pairs]

    def _bind(self, family: socket.AddressFamily, address: tuple[str, int], count: int) -> None:
        for number in range(count):
            listener = socket.socket(family, socket.SOCK_DGRAM)
            self._listeners.append(listener)
            if number:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address if number == 0 else self._listeners[0].getsockname())
            if number == 0 and count > 1:
                # Only now: the first must fail when somebody else has the port, whether he shares it or not.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if count == 1:
            return
        for _ in range(count):
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._pairs.append(pair)
            for end in pair:
                end.setblocking(False)
        try:
            steer(self._listeners[0], count)
        except OSError as error:  # by source then, which spreads worse, and more is handed over
            log.warning("the kernel does not steer packets to workers", error=str(error))


def encode_handed_over(data: bytes, source: Address) -> bytes:
    """A packet and where it came from, as it goes from worker to worker."""
    return " ".join(map(str, source)).encode() + b"\n" + data


def decode_handed_over(message: bytes) -> tuple[bytes, Address]:
    """The same again."""
    head, _, data = message.partition(b"\n")
    address, *numbers = head.decode().split(" ")
    return data, (address, *map(int, numbers))  # type: ignore[return-value]  # an IPv6 address has two more
