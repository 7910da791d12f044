"""The agents process: waits for the agents of gateways on other hosts, knows them, and looks after those gateways.

It has no VICI socket and no key of an authority: what it can do to a gateway is what the agent there lets it do.
"""

import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from evertunnel.actions.decide import FindCountry, FindPlace
from evertunnel.errors import DomainError, UnavailableError
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.agent_directory import AgentDirectory, UnknownAgentError
from evertunnel.gateways.agent_link import AgentLink
from evertunnel.gateways.control import Strongswan
from evertunnel.gateways.keeper import GatewayKeeper
from evertunnel.gateways.tls_pipe import PipeClosedError, TLSPipe
from evertunnel.model import GatewayState
from evertunnel.protocols.agent.frames import FrameError
from evertunnel.protocols.agent.messages import (
    VERSION,
    Begin,
    Enrol,
    FromAgent,
    Hello,
    Refused,
    Welcome,
    decode_from_agent,
)
from evertunnel.rate_limit import RateLimit, name_source
from evertunnel.storage import effect_queue, gateways
from evertunnel.storage.store import Store, Watch
from evertunnel.storage.tables import AnyRow

_POLL_SECONDS = 0.1
_HANDSHAKE_SECONDS = 5.0
_FIRST_MESSAGE_SECONDS = 10.0
_RENEW_EVERY_SECONDS = 3600.0
_LOOK_EVERY_SECONDS = 1.0
_SEEN_EVERY_SECONDS = 5.0
# Another node has the agent if it said so within this time.
_SEEN_LATELY = timedelta(seconds=15)
# Anybody may call: so many at once who have proven nothing, and of them from one address, or one IPv6 network (/64).
_UNPROVEN_AT_MOST, _UNPROVEN_OF_ONE_AT_MOST = 64, 8
_ENROLMENTS_PER_SECOND = 2
_GATE_THREADS, _GATE_WAITING = 8, 256
# charon takes an answer of the gate for two seconds before it was made and three after it.
_CLOCK_OFF_SECONDS = 1.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Connected:
    """An agent, and who looks after its gateway."""

    gateway_id: str
    certificate_id: str
    link: AgentLink
    keeper: GatewayKeeper
    begun: threading.Event = field(default_factory=threading.Event)


def _begin(connected: _Connected) -> None:
    """The agent is told first what its gateway is: strongSwan there may wait for its configuration to start with."""
    try:
        connected.link.load()
    except DomainError as error:
        log.warning("an agent could not be told what its gateway is", gateway=connected.gateway_id, error=str(error))
    except Exception as error:  # its keeper tries again, and until then ends what has to end
        log.error("an agent could not be told what its gateway is", gateway=connected.gateway_id, exc_info=error)
    if not connected.link.is_closed:
        connected.keeper.start()
        connected.begun.set()


class AgentsProcess:
    """One listener, one thread for each caller, one keeper for each agent that is known."""

    def __init__(
        self,
        store: Store,
        directory: AgentDirectory,
        listener: socket.socket,
        clock: Callable[[], datetime],
        find_country: FindCountry | None = None,
        find_place: FindPlace | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._listener = listener
        self._clock = clock
        self._find_country, self._find_place = find_country, find_place
        self._context: ssl.SSLContext | None = None
        self._connected: dict[str, _Connected] = {}
        self._ended_at: dict[str, datetime] = {}
        # By age: who has proven nothing, and the name of the source it comes from.
        self._unproven: OrderedDict[socket.socket, str] = OrderedDict()
        self._enrolments = RateLimit(per_second=_ENROLMENTS_PER_SECOND)
        self._lock = threading.Lock()
        self._gate_threads = ThreadPoolExecutor(_GATE_THREADS, thread_name_prefix="gate")
        self._gate_room = threading.Semaphore(_GATE_WAITING)

    def run(self, stopped: threading.Event) -> None:
        """Until stopped. Raises RuntimeError when a gateway is left without its threads: a new process has them."""
        watch = Watch(self._store)
        renew_at = look_at = seen_at = 0.0
        accepting = False
        while not stopped.is_set():
            uptime = time.monotonic()
            try:
                if uptime >= renew_at:
                    self._context = self._directory.build_context()
                    renew_at = uptime + _RENEW_EVERY_SECONDS
                    if not accepting:
                        accepting = True
                        threading.Thread(target=self._accept, daemon=True).start()
                if watch.changed() or uptime >= look_at:
                    look_at = uptime + _LOOK_EVERY_SECONDS
                    self._look(note=uptime >= seen_at)
                    seen_at = uptime + _SEEN_EVERY_SECONDS if uptime >= seen_at else seen_at
            except DomainError as error:
                log.warning("cannot look after agents", error=str(error))
                renew_at = max(renew_at, uptime + _LOOK_EVERY_SECONDS)
                stopped.wait(_LOOK_EVERY_SECONDS)
            for connected in self._list():
                if connected.begun.is_set() and not (connected.keeper.is_alive or connected.link.is_closed):
                    raise RuntimeError(f"a thread of gateway {connected.gateway_id} ended")
            stopped.wait(_POLL_SECONDS)
        for connected in self._list():
            connected.link.close("the server stops")
            connected.keeper.stop()
        watch.close()

    # Who is there.

    def _list(self) -> list[_Connected]:
        with self._lock:
            return list(self._connected.values())

    def _look(self, *, note: bool) -> None:
        """Let go of whom nobody wants any more, and say of the others whether they are there."""
        connected = {found.gateway_id: found for found in self._list() if not found.link.is_closed}
        for found in list(connected.values()):
            if why := self._directory.find_objection(found.gateway_id, found.certificate_id):
                log.warning("agent dismissed", gateway=found.gateway_id, why=why)
                found.link.dismiss(why)
                del connected[found.gateway_id]
        if connected and note:
            with self._store.write(self._clock()) as tx:
                gateways.note_seen(tx, connected)
        with self._store.read() as connection:
            rows = [row for row in gateways.list_gateways(connection) if row.remote and row.id not in connected]
            waiting = {row.id: effect_queue.list_pending(connection, row.id) for row in rows}
        absent = [row for row in rows if self._is_absent(row)]
        if any(
            row.state != GatewayState.AWAY.value or any(note or not effect.tries for effect in waiting[row.id])
            for row in absent
        ):
            with self._store.write(self._clock()) as tx:
                for row in absent:
                    error = "its agent is not connected" if row.seen_at else "its agent has not connected yet"
                    if row.state != GatewayState.AWAY.value:
                        gateways.set_state(tx, row.id, GatewayState.AWAY, error)
                    effect_queue.note_failures(tx, [effect.id for effect in waiting[row.id]], error)

    def _is_absent(self, row: AnyRow) -> bool:
        """Not here, and as far as anybody says not at another node either."""
        if row.seen_at is None or self._clock() - row.seen_at > _SEEN_LATELY:
            return True
        ended_at = self._ended_at.get(row.id)
        return ended_at is not None and row.seen_at <= ended_at

    # Who calls.

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError as error:
                log.warning("cannot take a call", error=error.strerror)
                time.sleep(_POLL_SECONDS)  # no descriptors left
                continue
            source = address[0]
            if not self._make_room(connection, name_source(source)):
                connection.close()
                continue
            try:
                threading.Thread(target=self._greet, args=(connection, source), daemon=True).start()
            except RuntimeError as error:  # no more threads: the caller dials again
                log.warning("cannot take a call", error=str(error))
                self._let_go(connection)
                connection.close()

    def _make_room(self, connection: socket.socket, caller: str) -> bool:
        """Take a call, unless too many are of this caller; the one that waits the longest gives way, as in RadSec."""
        with self._lock:
            if list(self._unproven.values()).count(caller) >= _UNPROVEN_OF_ONE_AT_MOST:
                return False
            if len(self._unproven) >= _UNPROVEN_AT_MOST:
                oldest, _ = self._unproven.popitem(last=False)
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread sees it, and closes it
            self._unproven[connection] = caller
        return True

    def _greet(self, connection: socket.socket, source: str) -> None:
        """One caller from first to last."""
        assert self._context is not None
        pipe = None
        try:
            pipe = TLSPipe(connection, self._context, server_side=True)
            pipe.shake_hands(_HANDSHAKE_SECONDS)
            channel = Channel(pipe, decode_from_agent)
            channel.send(Hello(version=VERSION, root_pem=self._directory.root_pem, time=self._clock()))
            match channel.receive(_FIRST_MESSAGE_SECONDS):
                case Enrol() as wish if wish.version == VERSION:
                    self._enrol(channel, wish, source)
                case Begin() as wish if wish.version == VERSION:
                    found = self._know(channel, pipe.get_peer_certificate())
                    if found is not None:
                        self._let_go(connection)
                        self._note_clock(found[0], wish.time)
                        channel.trust()
                        self._serve(channel, *found)
                case Enrol() | Begin():
                    channel.send(
                        Refused(text=f"this server speaks version {VERSION} with agents: update the older one")
                    )
        except (PipeClosedError, FrameError) as error:
            log.info("caller gave up or was not understood", source=source, why=str(error))
        except (
            Exception
        ):  # a bug of ours over one caller ends that caller's connection, and is not lost with its thread
            log.exception("a caller's thread failed", source=source)
        finally:
            self._let_go(connection)
            if pipe is not None:
                pipe.dispose()
            else:
                connection.close()

    def _let_go(self, connection: socket.socket) -> None:
        with self._lock:
            self._unproven.pop(connection, None)

    def _enrol(self, channel: Channel[FromAgent], wish: Enrol, source: str) -> None:
        with self._lock:
            allowed = self._enrolments.allows(time.monotonic())
        if not allowed:
            channel.send(Refused(text="too many try to enrol at once: try again in a few seconds"))
            return
        try:
            enrolled = self._directory.enrol(wish, source)
        except DomainError as error:
            log.warning("enrolment refused", source=source, why=str(error))
            channel.send(Refused(text=str(error)[:600]))
            return
        log.info("agent enrolled", gateway=enrolled.gateway, source=source)
        channel.send(enrolled)

    def _know(self, channel: Channel[FromAgent], certificate_der: bytes | None) -> tuple[AnyRow, str] | None:
        """The gateway of a certificate that TLS verified, and the certificate's id; else the caller is told no."""
        try:
            return self._directory.identify(certificate_der)
        except UnknownAgentError as error:
            log.warning("agent refused", why=str(error))
            channel.send(Refused(text=str(error), gone=error.gone))
        except UnavailableError as error:
            log.warning("agent cannot be looked up", error=str(error))
            channel.send(Refused(text="the server cannot look it up now: try again"))
        return None

    def _note_clock(self, row: AnyRow, theirs: datetime) -> None:
        off = (theirs - self._clock()).total_seconds()
        if abs(off) > _CLOCK_OFF_SECONDS:
            log.warning(
                "a gateway's clock differs from ours: it will take the gate's answers for too old or too new",
                gateway=row.name,
                seconds=round(off, 1),
            )

    def _serve(self, channel: Channel[FromAgent], row: AnyRow, certificate_id: str) -> None:
        link = AgentLink(
            row.name,
            channel,
            build=lambda: self._directory.describe(row.id, certificate_id),
            ask_gate=lambda request_der: self._directory.ask_gate(row.id, request_der),
            run=self._run_apart,
        )
        keeper = GatewayKeeper(
            self._store,
            self._directory.build_gateway(row),
            Strongswan(link, link, link, link.end_later),
            clock=self._clock,
            find_country=self._find_country,
            find_place=self._find_place,
        )
        mine = _Connected(row.id, certificate_id, link, keeper)
        with self._lock:
            before = self._connected.get(row.id)
            self._connected[row.id] = mine
        if before is not None:
            log.warning("agent connected again", gateway=row.name)
            before.link.close("its agent connected again")
            before.keeper.stop()
        log.info("agent connected", gateway=row.name)
        try:
            channel.send(Welcome(gateway=row.name))
            threading.Thread(target=_begin, args=(mine,), daemon=True).start()
            link.serve()
        finally:
            link.close("it hung up before it was welcomed")  # unless it ended with another reason
            log.info("agent gone", gateway=row.name, why=link.ended_because)
            keeper.stop()
            with self._lock:
                if self._connected.get(row.id) is mine:
                    del self._connected[row.id]
                    self._ended_at[row.id] = self._clock()

    def _run_apart(self, work: Callable[[], None]) -> bool:
        """In one of a few threads; False when too much waits for them already."""
        if not self._gate_room.acquire(blocking=False):
            return False

        def run() -> None:
            try:
                with suppress(DomainError):
                    work()
            finally:
                self._gate_room.release()

        self._gate_threads.submit(run)
        return True
