"""The agent of a gateway on this host: dials out, does what the server asks of five things, tells what happens.

Whatever comes from the server is data that was checked; nothing of it is run, and nothing is a path.
"""

import itertools
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from evertunnel.errors import DomainError, UnavailableError
from evertunnel.gateways.agent.enrolling import dial
from evertunnel.gateways.agent.folder import AgentFolder
from evertunnel.gateways.agent.gate_relay import GateRelay
from evertunnel.gateways.agent.outbox import Outbox
from evertunnel.gateways.agent.upkeep import Upkeep
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.agent_tls import build_agent_context
from evertunnel.gateways.tls_pipe import PipeClosedError
from evertunnel.gateways.wire import encode_event, encode_tunnel, is_ours, split
from evertunnel.protocols.agent.frames import FrameError
from evertunnel.protocols.agent.messages import (
    VERSION,
    Asked,
    Beat,
    Begin,
    Flush,
    FromServer,
    GateAnswer,
    GateQuestion,
    List,
    Load,
    Refused,
    Reply,
    Terminate,
    Welcome,
    without_revision,
)
from evertunnel.vici_connection import AwayError, Section, ViciConnection

_SILENT_AT_MOST_SECONDS = 12.0
_BEAT_EVERY_SECONDS = 2.0
_DIAL_AGAIN_SECONDS = 0.5, 2.0
_GATE_SECONDS = 2.5
_LOAD_SECONDS = 12.0
_ASKED_AT_ONCE = 16
_ASK_ONE_BY_ONE = 8
_IDLE_SECONDS = 0.1
_RECONNECT_SECONDS = 0.5

log = structlog.get_logger()


class DismissedError(Exception):
    """The server says that this gateway is its no longer."""


@dataclass
class _Waiting:
    done: threading.Event = field(default_factory=threading.Event)
    answer: bytes | None = None


class Agent:
    """One gateway's. Threads: this one dials, others listen, send, answer, and look after strongSwan."""

    def __init__(self, folder: AgentFolder, *, vici_socket: str, gate_port: int, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._vici_socket = vici_socket
        self._clock = clock
        self._identity = folder.load_identity()
        self._relay = GateRelay(gate_port, self._identity.gate_path, self._ask_gate)
        self._upkeep = Upkeep(folder, self._identity, vici_socket=vici_socket, gate_url=self._relay.url, clock=clock)
        self._outbox = Outbox()
        self._asked: queue.Queue[tuple[Channel[FromServer], Asked]] = queue.Queue(_ASKED_AT_ONCE)
        self._vici = ViciConnection(vici_socket)
        self._channel: Channel[FromServer] | None = None
        self._questions: dict[int, _Waiting] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self, stopped: threading.Event) -> str:
        """Until stopped; then returns nothing. Dismissed by the server it ends all tunnels and returns why."""
        self._stopped = stopped
        self._upkeep.begin()
        for run in (self._relay.serve_forever, self._listen, self._answer_all, lambda: self._upkeep.run(stopped)):
            threading.Thread(target=run, daemon=True).start()
        said = ""
        while not stopped.is_set():
            try:
                self._serve()
                said = ""
            except DismissedError as error:
                log.warning("dismissed by the server: every tunnel ends", why=str(error))
                self._upkeep.leave(stopped)
                return str(error)
            except (DomainError, PipeClosedError, FrameError) as error:
                if str(error) != said:
                    log.warning("not connected", error=str(error))
                said = str(error)
            except Exception as error:  # whatever it was, the next try may be better
                log.error("connection failed", exc_info=error)
            stopped.wait(random.uniform(*_DIAL_AGAIN_SECONDS) if said else _DIAL_AGAIN_SECONDS[0])  # noqa: S311
        self._relay.shutdown()
        self._relay.server_close()
        return ""

    # The connection.

    def _serve(self) -> None:
        """One connection from first to last."""
        identity = self._folder.load_identity()  # its certificate may have been renewed
        context = build_agent_context(
            root_pem=identity.root_pem, chain_pem=identity.agent_chain_pem, key_pem=identity.agent_key_pem
        )
        with dial(identity.address, identity.port, context) as (channel, _):
            channel.trust()
            channel.send(Begin(version=VERSION, time=self._clock()))
            match channel.receive(_SILENT_AT_MOST_SECONDS):
                case Welcome(gateway=name) if name == identity.gateway:
                    log.info("connected", server=identity.address, gateway=name)
                case Refused() as refused:
                    raise _find_error(refused)
                case _:
                    raise UnavailableError("the server's answer cannot be understood")
            ended = threading.Event()
            sender = threading.Thread(target=self._send_all, args=(channel, ended), daemon=True)
            self._channel = channel
            self._outbox.open()
            sender.start()
            try:
                self._receive_all(channel)
            finally:
                ended.set()
                self._channel = None
                self._outbox.close()
                channel.close()
                self._give_up_questions()
                sender.join()

    def _receive_all(self, channel: Channel[FromServer]) -> None:
        heard = time.monotonic()
        while not self._stopped.is_set():
            message = channel.receive(1.0)
            if message is None:
                if time.monotonic() - heard > _SILENT_AT_MOST_SECONDS:
                    raise UnavailableError("the server says nothing any more")
                continue
            heard = time.monotonic()
            match message:
                case Load() | List() | Terminate() | Flush():
                    try:
                        self._asked.put_nowait((channel, message))
                    except queue.Full:
                        raise FrameError("the server asks more than can be answered") from None
                case GateAnswer():
                    with self._lock:
                        waiting = self._questions.get(message.id)
                    if waiting is not None:
                        waiting.answer = message.answer_der
                        waiting.done.set()
                case Refused():
                    raise _find_error(message)
                case Beat():
                    pass
                case _:
                    raise FrameError(f"a message of kind {message.kind} does not belong here")

    def _send_all(self, channel: Channel[FromServer], ended: threading.Event) -> None:
        """Events as they come, and now and then a sign of life: a dead connection shows when something is sent."""
        beat_at = 0.0
        try:
            while not ended.is_set():
                if (events := self._outbox.take(_IDLE_SECONDS)) is not None:
                    channel.send(events if channel.is_revised else without_revision(events))
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + _BEAT_EVERY_SECONDS
                    channel.send(Beat())
        except PipeClosedError:
            channel.close()
        except Exception as error:  # without this thread the connection is of no use, and another may be
            log.error("what happened cannot be told", exc_info=error)
            channel.close()

    # strongSwan.

    def _listen(self) -> None:
        listener = ViciConnection(self._vici_socket)
        while not self._stopped.is_set():
            try:
                first = True
                for event in listener.listen(timeout_seconds=_IDLE_SECONDS):
                    if first:
                        first = False
                        self._upkeep.note_fresh()
                        self._outbox.say_fresh()
                    if event is not None:
                        self._tell(*event)
                    if self._stopped.is_set():
                        return
            except UnavailableError as error:
                self._outbox.say_away(str(error))
            except Exception as error:  # nobody would start this thread again
                log.error("an event cannot be told", exc_info=error)
            self._stopped.wait(_RECONNECT_SECONDS)

    def _tell(self, name: str, message: dict[str, object]) -> None:
        for event in encode_event(name, message):
            if event.old is not None and event.tunnel is not None:
                old, new = (f"{each.initiator_spi}:{each.responder_spi}" for each in (event.old, event.tunnel))
                self._upkeep.deadlines.follow_rekey(old, int(event.tunnel.uniqueid), new)
            self._outbox.put(event)

    def _answer_all(self) -> None:
        while not self._stopped.is_set():
            try:
                channel, asked = self._asked.get(timeout=1.0)
            except queue.Empty:
                continue
            try:
                self._answer(channel, asked)
            except PipeClosedError:
                channel.close()
            except Exception as error:  # nobody would start this thread again
                log.error("a question cannot be answered", exc_info=error)
                channel.close()

    def _answer(self, channel: Channel[FromServer], asked: Asked) -> None:
        parts = split([])
        try:
            match asked:
                case Load():
                    self._upkeep.wish(asked.configuration, _LOAD_SECONDS)
                case List():
                    found = self._vici.list_tunnels(asked.number)
                    ours = [encode_tunnel(each["name"], each) for each in found if is_ours(each["name"])]
                    parts = split(ours)
                case Terminate():
                    self._vici.terminate_each(self._find_ours(asked.numbers))
                    for deadline in asked.later:
                        self._upkeep.deadlines.keep(deadline.number, deadline.spis, deadline.seconds)
                case Flush():
                    self._vici.flush_certificates()
        except DomainError as error:
            away = isinstance(error, AwayError)
            channel.send(Reply(id=asked.id, error=str(error)[:600] or "it failed", away=away))
            return
        for position, part in enumerate(parts, 1):
            channel.send(Reply(id=asked.id, tunnels=part, more=position < len(parts)))

    def _find_ours(self, numbers: Sequence[int]) -> list[int]:
        """Of these numbers those of our connections: the gateway's others are not the server's to end."""
        if not numbers:
            return []
        if len(numbers) <= _ASK_ONE_BY_ONE:
            found: Iterable[Section] = [each for number in numbers for each in self._vici.list_tunnels(number)]
        else:
            found = self._vici.list_tunnels()
        ours = {int(section["uniqueid"]) for section in found if is_ours(section["name"])}
        return [number for number in numbers if number in ours]

    # The gate.

    def _ask_gate(self, request_der: bytes) -> bytes | None:
        """For strongSwan's threads: None, which refuses the device, whenever the server gives no answer."""
        channel = self._channel
        if channel is None:
            return None
        number, waiting = next(self._numbers), _Waiting()
        with self._lock:
            self._questions[number] = waiting
        try:
            channel.send(GateQuestion(id=number, request_der=request_der))
            waiting.done.wait(_GATE_SECONDS)
            return waiting.answer
        except PipeClosedError:
            return None
        finally:
            with self._lock:
                del self._questions[number]

    def _give_up_questions(self) -> None:
        with self._lock:
            for waiting in self._questions.values():
                waiting.done.set()


def _find_error(refused: Refused) -> Exception:
    return DismissedError(refused.text) if refused.gone else UnavailableError(f"the server says: {refused.text}")
