"""The RadSec process: RADIUS over TLS (RFC 6614) for gateways that prove by a certificate which they are.

It speaks TLS, knows certificates and cuts the stream into packets; what they say is the workers' business. It has no
RADIUS secret, no EAP key and nobody's password, and one thread that waits for nobody.
"""

import select
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import datetime

import structlog
from cryptography import x509

from evertunnel.errors import DomainError
from evertunnel.protocols.radius.packet import PacketError, UnsignedError
from evertunnel.protocols.radius.stream import UnknownCodeError, examine_packet
from evertunnel.rate_limit import RateLimit, name_source
from evertunnel.servers.radsec_connection import ConnectionOverError, RadSecConnection
from evertunnel.servers.radsec_directory import RadSecDirectory
from evertunnel.servers.radsec_link import RadSecLink
from evertunnel.servers.radsec_tls import RadSecContext
from evertunnel.storage.gateways import RADSEC, name_radsec
from evertunnel.storage.store import Store, Watch

_POLL_SECONDS = 0.02
_LOOK_EVERY_SECONDS = 1.0
_TELL_EVERY_SECONDS = 60.0
_TRY_AGAIN_SECONDS = 1.0
_ACCEPT_AT_ONCE = 32
# Anybody may call: so many at once who have proven nothing, and of them from one address, or one IPv6 network (/64).
UNPROVEN_AT_MOST, UNPROVEN_OF_ONE_AT_MOST = 256, 32
# A gateway that lost its connections without telling us must find room for new ones.
PROVEN_AT_MOST, PROVEN_OF_ONE_AT_MOST = 512, 16
_LINES_PER_SECOND = 5

log = structlog.get_logger()

BuildContext = Callable[[RadSecDirectory], RadSecContext]


class RadSecProcess:
    """One listener, one thread. `build_context` makes the TLS side of whom the directory trusts then."""

    def __init__(
        self,
        store: Store,
        listener: socket.socket,
        link: RadSecLink,
        build_context: BuildContext,
        clock: Callable[[], datetime],
    ) -> None:
        listener.setblocking(False)
        self._store = store
        self._listener = listener
        self._link = link
        self._build_context = build_context
        self._clock = clock
        self._directory = RadSecDirectory()
        self._context: RadSecContext | None = None
        self._trusted: tuple[x509.Certificate, ...] = ()
        self._anew = threading.Event()
        self._connections: dict[int, RadSecConnection] = {}
        # By age. A number is never given twice, also not to a process that comes after this one.
        self._unproven: OrderedDict[int, RadSecConnection] = OrderedDict()
        self._by_descriptor: dict[int, RadSecConnection] = {}
        self._interest: dict[int, int] = {}
        self._numbers = time.time_ns()
        self._epoll = select.epoll()
        self._dropped: Counter[str] = Counter()
        self._lines = RateLimit(per_second=_LINES_PER_SECOND, burst=20)

    def use_new_certificate(self) -> None:
        """For connections that begin from now on. From any thread."""
        self._anew.set()

    def run(self, stopped: threading.Event) -> None:
        """Until stopped."""
        watch = Watch(self._store)
        ends = {end.fileno(): end for end in self._link.sockets}
        for descriptor in ends:
            self._epoll.register(descriptor, select.EPOLLIN)
        look_at, tell_at, behind = 0.0, time.monotonic() + _TELL_EVERY_SECONDS, True
        follow_at, listening = 0.0, False
        while not stopped.is_set():
            for descriptor, event in self._epoll.poll(_POLL_SECONDS):
                if descriptor in ends:
                    self._take_answers(ends[descriptor])
                elif descriptor == self._listener.fileno():
                    self._accept()
                elif (connection := self._by_descriptor.get(descriptor)) is not None:
                    self._serve(connection, broken=bool(event & (select.EPOLLERR | select.EPOLLHUP)))
            uptime = time.monotonic()
            try:
                behind = watch.changed() or behind or self._anew.is_set()
                if behind and uptime >= follow_at:
                    self._follow()
                    behind = False
            except DomainError as error:
                follow_at = uptime + _TRY_AGAIN_SECONDS
                self._say("cannot follow the database", why=str(error))
            if not listening and not behind:
                listening = True
                self._epoll.register(self._listener.fileno(), select.EPOLLIN)
            self._pass_on_waiting(uptime)
            if uptime >= look_at:
                look_at = uptime + _LOOK_EVERY_SECONDS
                self._look(uptime)
            if uptime >= tell_at:
                tell_at = uptime + _TELL_EVERY_SECONDS
                if self._dropped:
                    log.warning("RadSec packets dropped", **self._dropped)
                    self._dropped.clear()
        for connection in list(self._connections.values()):
            self._end(connection, "the server stops", is_fault=False)
        self._epoll.close()
        watch.close()

    def _follow(self) -> None:
        """Whom we trust may have changed, or our own certificate."""
        with self._store.read() as connection:
            self._directory.load(connection)
        self._dismiss()  # first: it needs nothing but this
        if self._anew.is_set() or self._trusted != self._directory.trusted:
            self._anew.clear()
            self._context = self._build_context(self._directory)
            self._trusted = self._directory.trusted

    def _dismiss(self) -> None:
        now = self._clock()
        for connection in list(self._connections.values()):
            if connection.client is not None and (why := self._directory.find_objection(connection.client, now)):
                self._end(connection, why)

    # Who calls.

    def _accept(self) -> None:
        uptime = time.monotonic()
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                made, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no descriptors left: let go of the one that waits the longest
                self._say("cannot take a call", why=error.strerror or "")
                if self._unproven:
                    self._end(next(iter(self._unproven.values())), "others needed its place")
                return
            caller = name_source(address[0])
            if sum(each.caller == caller for each in self._unproven.values()) >= UNPROVEN_OF_ONE_AT_MOST:
                self._dropped["too_many_calls_of_one_source"] += 1
                made.close()
                continue
            if len(self._unproven) >= UNPROVEN_AT_MOST:
                self._end(next(iter(self._unproven.values())), "others needed its place", is_fault=False)
                self._dropped["calls_that_made_room"] += 1
            self._numbers += 1
            connection = RadSecConnection(made, address[0], caller, self._numbers, uptime)
            self._connections[connection.number] = self._unproven[connection.number] = connection
            self._by_descriptor[made.fileno()] = connection
            self._interest[connection.number] = select.EPOLLIN
            self._epoll.register(made.fileno(), select.EPOLLIN)

    def _serve(self, connection: RadSecConnection, *, broken: bool) -> None:
        assert self._context is not None
        if broken:
            self._end(connection, "the peer hung up", is_fault=False)
            return
        uptime = time.monotonic()
        try:
            connection.flush(uptime)
            if connection.wants_to_read:
                proven_before = connection.client is not None
                packets = connection.read(self._context, self._directory.find, uptime)
                if not proven_before and connection.client is not None:
                    self._welcome(connection)
                for packet in packets:
                    self._pass_on(connection, packet)
        except ConnectionOverError as over:
            self._end(connection, str(over), is_fault=over.is_fault)
            return
        except MemoryError:
            self._end(connection, "out of memory")
            return
        except Exception:  # a bug of ours over one connection ends that connection, not the process
            log.exception("RadSec connection failed", source=connection.source)
            self._end(connection, "an error of ours", is_fault=False)
            return
        self._note_interest(connection)

    def _welcome(self, connection: RadSecConnection) -> None:
        assert connection.client is not None
        self._unproven.pop(connection.number, None)
        same = [
            each
            for each in self._connections.values()
            if each.client is not None and each.client.gateway_id == connection.client.gateway_id
        ]
        everybody = [each for each in self._connections.values() if each.client is not None]
        for of_whom, at_most in ((same, PROVEN_OF_ONE_AT_MOST), (everybody, PROVEN_AT_MOST)):
            if len(of_whom) > at_most:
                silent = min(of_whom, key=lambda each: (each is connection, each.last_packet_at))
                self._end(silent, "another connection needed its place")
        log.info(
            "RadSec connection",
            gateway=connection.client.gateway,
            source=connection.source,
            version=connection.version,
        )

    def _pass_on(self, connection: RadSecConnection, packet: bytes) -> None:
        """Give a packet to a worker. Raises ConnectionOverError for one that makes the stream doubtful."""
        assert connection.client is not None
        try:
            examined = examine_packet(packet)
        except UnknownCodeError:
            self._dropped["unknown_code"] += 1
            return
        except UnsignedError:
            self._dropped["without_message_authenticator"] += 1
            return
        except PacketError as error:
            raise ConnectionOverError(str(error)) from error
        connection.waiting.append((packet, examined))
        self._send_waiting(connection)

    def _pass_on_waiting(self, uptime: float) -> None:
        for connection in [each for each in self._connections.values() if each.waiting]:
            connection.forget_asked(uptime)
            self._send_waiting(connection)
            self._note_interest(connection)

    def _send_waiting(self, connection: RadSecConnection) -> None:
        """As many as workers can take, in their order."""
        assert connection.client is not None
        source = name_radsec(connection.client.gateway_id), connection.number
        while connection.waiting and connection.may_ask:
            packet, examined = connection.waiting[0]
            if not self._link.send(packet, examined, source):
                return
            connection.waiting.popleft()
            connection.note_asked(time.monotonic())

    def _take_answers(self, end: socket.socket) -> None:
        uptime = time.monotonic()
        for data, (address, number) in self._link.receive(end):
            connection = self._connections.get(number)
            if connection is None or connection.client is None:
                self._dropped["answers_for_nobody"] += 1
                continue
            if address != f"{RADSEC}{connection.client.gateway_id}":
                self._dropped["answers_for_another"] += 1
                continue
            try:
                connection.send(data, uptime)
            except ConnectionOverError as over:
                self._end(connection, str(over))
                continue
            self._note_interest(connection)

    # What is due from time to time.

    def _look(self, uptime: float) -> None:
        for connection in list(self._connections.values()):
            if why := connection.find_timeout(uptime):
                self._end(connection, why)
            else:
                connection.forget_asked(uptime)
                self._note_interest(connection)
        self._dismiss()  # certificates end by themselves

    def _note_interest(self, connection: RadSecConnection) -> None:
        if connection.number not in self._connections:
            return
        wanted = select.EPOLLIN * connection.wants_to_read | select.EPOLLOUT * connection.wants_to_write
        if self._interest[connection.number] != wanted:
            self._interest[connection.number] = wanted
            self._epoll.modify(connection.socket.fileno(), wanted)

    def _end(self, connection: RadSecConnection, why: str, *, is_fault: bool = True) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        self._unproven.pop(connection.number, None)
        self._by_descriptor.pop(connection.socket.fileno(), None)
        self._interest.pop(connection.number, None)
        self._epoll.unregister(connection.socket.fileno())
        connection.close()
        if connection.client is not None:
            log.info("RadSec connection ended", gateway=connection.client.gateway, source=connection.source, why=why)
        elif is_fault:
            self._say("RadSec caller refused", source=connection.source, why=why)

    def _say(self, what: str, **details: str) -> None:
        """A line a second or so: callers are strangers, and there may be thousands."""
        if self._lines.allows(time.monotonic()):
            log.warning(what, **details)
        else:
            self._dropped["refusals_not_told"] += 1
