"""Between the RadSec process and the RADIUS workers: a pair of sockets for each worker and service.

Made before the fork and open in the supervisor, so either end may die and come back. Packets and answers keep their
boundaries, and a reader who is slow holds up nobody: what does not fit is kept by RadSec, and dropped by a worker.
"""

import socket
from collections import Counter
from collections.abc import Collection, Iterator

from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.stream import Examined
from evertunnel.servers.crew import Crew
from evertunnel.servers.logins import Address, Reply
from evertunnel.servers.shared_port import Arrival, decode_handed_over, encode_handed_over
from evertunnel.servers.workers import Place

_MESSAGE_BYTES = 4096 + 256
_KERNEL_BUFFER_BYTES = 1024 * 1024
_MESSAGES_AT_ONCE = 128


class RadSecPort:
    """A worker's end, for one service."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._dropped: Counter[str] = Counter()

    @property
    def sockets(self) -> list[socket.socket]:
        """What packets come from, for poll."""
        return [self._end]

    def receive(self, ready: Collection[int]) -> list[Arrival]:
        """Packets that wait, if poll called its descriptor ready: octets, who asks and on which connection.

        All are taken before any is answered, as of a port.
        """
        arrivals: list[Arrival] = []
        if self._end.fileno() not in ready:
            return arrivals
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                message = self._end.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                break
            if not message:
                break
            arrivals.append((*decode_handed_over(message), False))
        return arrivals

    def send(self, reply: Reply) -> None:
        """Give an answer to RadSec. One that cannot be is as good as lost on the way."""
        try:
            self._end.send(encode_handed_over(reply.data, reply.destination))
        except OSError:
            self._dropped["not_answered"] += 1

    def take_dropped(self) -> dict[str, int]:
        """How many answers could not be given since this was asked last, by reason."""
        dropped, self._dropped = self._dropped, Counter()
        return dict(dropped)


class RadSecLink:
    """Both ends of all pairs, before the fork; after it, RadSec's side."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._place = Place(0, crew.count)
        self._logins = [_make_pair() for _ in range(crew.count)]
        self._accounting = [_make_pair() for _ in range(crew.count)]

    def close(self) -> None:
        """All of them, in this process."""
        for pair in (*self._logins, *self._accounting):
            for end in pair:
                end.close()

    def list_worker_sockets(self, number: int) -> list[socket.socket]:
        """What a worker keeps after the fork."""
        return [self._logins[number][0], self._accounting[number][0]]

    def open_ports(self, number: int) -> tuple[RadSecPort, RadSecPort]:
        """A worker's ends: for logins, and for accounting."""
        first, second = self.list_worker_sockets(number)
        return RadSecPort(first), RadSecPort(second)

    @property
    def sockets(self) -> list[socket.socket]:
        """What RadSec keeps after the fork, and where answers come from."""
        return [ours for _, ours in (*self._logins, *self._accounting)]

    def send(self, data: bytes, examined: Examined, source: Address) -> bool:
        """Pass a packet on to the worker that answers it. False: that one has too much to do, try again."""
        if examined.code == Code.ACCOUNTING_REQUEST:
            pairs, owner = self._accounting, examined.authenticator[0] % self._crew.count
        else:
            pairs = self._logins
            found = self._place.find_owner(examined.authenticator, examined.state, awake=self._crew.awake)
            if found is None:
                return True  # a State that is none of ours: nobody answers
            owner = found
        try:
            pairs[owner][1].send(encode_handed_over(data, source))
        except BlockingIOError:
            return False
        return True

    def receive(self, end: socket.socket) -> Iterator[tuple[bytes, Address]]:
        """Answers that wait at one of our sockets: octets, and for which connection of whom."""
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                message = end.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            if not message:
                return
            yield decode_handed_over(message)


def _make_pair() -> tuple[socket.socket, socket.socket]:
    # Not datagrams: of those the kernel keeps ten for a reader, and these it keeps by their size.
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
    return pair
