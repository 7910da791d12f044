"""The server's end of one agent's connection: what VICI is for a gateway on this machine, for one on another host.

The agent is believed about its own gateway and about nothing else: it names no gateway, and every answer is bounded.
An answer that does not come in time ends the connection, for what comes late would be taken for something else.
"""

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from evertunnel.errors import UnavailableError
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.event_queue import LINES_AT_MOST
from evertunnel.gateways.strongswan import GatewayModel
from evertunnel.gateways.tls_pipe import PipeClosedError
from evertunnel.gateways.wire import decode_event, decode_tunnel
from evertunnel.protocols.agent.frames import FrameError
from evertunnel.protocols.agent.messages import (
    TUNNELS_AT_ONCE,
    Asked,
    Beat,
    Configuration,
    Deadline,
    Events,
    Flush,
    FromAgent,
    GateAnswer,
    GateQuestion,
    List,
    Load,
    Refused,
    Reply,
    Terminate,
    TunnelSection,
)
from evertunnel.vici_connection import AwayError, Section

# Each longer than the agent waits for its strongSwan: it shall say itself that that is away.
_ANSWER_WITHIN_SECONDS = 7.0
_FLUSHED_WITHIN_SECONDS = 2.0
_LOADED_WITHIN_SECONDS = 15.0
_SILENT_AT_MOST_SECONDS = 10.0
_BEAT_EVERY_SECONDS = 3.0
_EVENTS_AT_MOST = 20_000
# Whoever says more than that has more tunnels than a gateway carries, or lies.
_TUNNELS_AT_MOST = 100_000
_GATE_QUESTIONS_AT_ONCE = 64
# All gateways share the threads that answer: an agent that takes nothing must not hold them.
_GATE_ANSWER_SECONDS = 0.5


class AgentLink:
    """One connection. `serve` reads it; the gateway's keeper asks over it from two threads of its own."""

    def __init__(
        self,
        name: str,
        channel: Channel[FromAgent],
        *,
        build: Callable[[], tuple[GatewayModel, Configuration]],
        ask_gate: Callable[[bytes], bytes | None],
        run: Callable[[Callable[[], None]], bool],
    ) -> None:
        """`ask_gate` puts an OCSP request of this gateway to the gate; `run` does so elsewhere, if it has room."""
        self._name = name
        self._channel = channel
        self._build = build
        self._ask_gate = ask_gate
        self._run = run
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[Reply | None]] = {}
        self._events: queue.Queue[tuple[str, Section] | None] = queue.Queue(_EVENTS_AT_MOST)
        self._away = "its agent has not said yet whether strongSwan is there"
        self._told = threading.Event()
        self._open_questions = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.ended_because = ""

    # Reading.

    def serve(self) -> None:
        """Until the connection ends, however it does."""
        heard = beaten = time.monotonic()
        try:
            while not self._closed.is_set():
                message = self._channel.receive(1.0)
                now = time.monotonic()
                if message is not None:
                    heard = now
                    self._handle(message)
                elif now - heard > _SILENT_AT_MOST_SECONDS:
                    raise FrameError("it says nothing any more")
                if now - beaten > _BEAT_EVERY_SECONDS:
                    beaten = now
                    self._channel.send(Beat())
        except (PipeClosedError, FrameError) as error:
            self.ended_because = self.ended_because or str(error)
        finally:
            self.close(self.ended_because or "it was closed")
            self._channel.dispose()

    def close(self, why: str) -> None:
        """End it. Whoever waits for an answer is told."""
        self.ended_because = self.ended_because or why
        self._closed.set()
        self._channel.close()
        with self._lock:
            for waiting in self._answers.values():
                waiting.put(None)

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._closed.is_set()

    def _handle(self, message: FromAgent) -> None:
        match message:
            case Reply():
                with self._lock:
                    waiting = self._answers.get(message.id)
                if waiting is not None:  # else nobody waits any more
                    waiting.put(message)
            case Events():
                self._take_events(message)
            case GateQuestion():
                self._pass_on(message)
            case Beat():
                pass
            case _:
                raise FrameError(f"a message of kind {message.kind} does not belong here")

    def _take_events(self, message: Events) -> None:
        if message.lost:
            self._put(None)
        for event in message.events:
            try:
                name, section = decode_event(event)
            except ValueError as error:
                raise FrameError(str(error)) from None
            # Lines make records only, so they give way to what is acted on.
            if name != "log" or self._events.qsize() < LINES_AT_MOST:
                self._put((name, section))
        if message.away:
            self._away = message.away
        if message.fresh and self._away:
            self._away = ""
        elif message.fresh:
            self._put(None)  # it was there before: everything must be looked at afresh
        if message.away or message.fresh:
            self._told.set()

    def _put(self, event: tuple[str, Section] | None) -> None:
        try:
            self._events.put_nowait(event)
        except queue.Full:
            raise FrameError("it says more than can be handled") from None

    def _pass_on(self, question: GateQuestion) -> None:
        def answer(found: bytes | None) -> None:
            with self._lock:
                self._open_questions -= 1
            try:
                self._channel.send(GateAnswer(id=question.id, answer_der=found), _GATE_ANSWER_SECONDS)
            except PipeClosedError as error:
                self.close(str(error))

        with self._lock:
            self._open_questions += 1
            busy = self._open_questions > _GATE_QUESTIONS_AT_ONCE
        if busy or not self._run(lambda: answer(self._ask_gate(question.request_der))):
            answer(None)

    # Listening, for the keeper's first thread.

    def listen(self, *, timeout_seconds: float) -> Iterator[tuple[str, Section] | None]:
        """Events as they come; None whenever that time passed without one. Raises AwayError."""
        self._told.wait(_FLUSHED_WITHIN_SECONDS)
        self._raise_if_away()
        yield None
        while True:
            try:
                event = self._events.get(timeout=timeout_seconds)
            except queue.Empty:
                self._raise_if_away()
                yield None
                continue
            if event is None:
                self._raise_if_away()
                raise AwayError(f"strongSwan of {self._name} hung up, or reports of it were lost")
            yield event

    def _raise_if_away(self) -> None:
        if self._closed.is_set():
            raise AwayError(f"the agent of {self._name} hung up: {self.ended_because}")
        if self._away:
            raise AwayError(f"{self._away} (said by the agent of {self._name})")

    # Asking, for the keeper's other thread.

    def load(self) -> GatewayModel:
        """Describe the gateway to its agent. Raises DomainError."""
        model, configuration = self._build()
        self._ask(Load(id=next(self._numbers), configuration=configuration), _LOADED_WITHIN_SECONDS)
        return model

    def list_lost(self) -> list[str]:
        """Nothing: the agent looks by itself, also while nobody asks."""
        return []

    def dismiss(self, why: str) -> None:
        """Tell it to end every tunnel of ours, forget the gateway and not to come back; then hang up."""
        with contextlib.suppress(PipeClosedError):
            self._channel.send(Refused(text=why, gone=True))
        self.close(why)

    def list_tunnels(self, unique_id: int | None = None, *, children: bool = True) -> list[Section]:  # noqa: ARG002
        """All IKE_SAs of our connections, or the one of a number. Agents leave no children out."""
        found = self._ask(List(id=next(self._numbers), number=unique_id), _ANSWER_WITHIN_SECONDS)
        return [decode_tunnel(tunnel) for tunnel in found]

    def terminate(self, unique_id: int) -> None:
        """End an IKE_SA now. One that is gone already is fine."""
        self.terminate_each([unique_id])

    def terminate_each(self, unique_ids: Sequence[int]) -> None:
        """The same for many."""
        for start in range(0, len(unique_ids), TUNNELS_AT_ONCE):
            numbers = list(unique_ids[start : start + TUNNELS_AT_ONCE])
            self._ask(Terminate(id=next(self._numbers), numbers=numbers), _ANSWER_WITHIN_SECONDS)

    def end_later(self, unique_id: int, spis: str, seconds: int) -> None:
        """Have the agent end a tunnel by itself, whether we are there then or not."""
        deadline = Deadline(number=unique_id, spis=spis, seconds=seconds)
        self._ask(Terminate(id=next(self._numbers), later=[deadline]), _ANSWER_WITHIN_SECONDS)

    def flush_certificates(self) -> None:
        """Forget what is remembered of certificates."""
        self._ask(Flush(id=next(self._numbers)), _FLUSHED_WITHIN_SECONDS)

    def _ask(self, question: Asked, within_seconds: float) -> list[TunnelSection]:
        waiting: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        found: list[TunnelSection] = []
        with self._lock:
            if self._closed.is_set():
                raise AwayError(f"the agent of {self._name} is not connected: {self.ended_because}")
            self._answers[question.id] = waiting
        deadline = time.monotonic() + within_seconds
        try:
            self._channel.send(question)
            while True:
                reply = waiting.get(timeout=max(0.0, deadline - time.monotonic()))
                if reply is None:
                    raise AwayError(f"the agent of {self._name} hung up: {self.ended_because}")
                if reply.error:
                    raise (AwayError if reply.away else UnavailableError)(reply.error)
                found += reply.tunnels
                empty = reply.more and not reply.tunnels
                if len(found) > _TUNNELS_AT_MOST or empty or time.monotonic() > deadline:
                    self.close("it lists tunnels without end")
                    raise AwayError(f"the agent of {self._name} lists tunnels without end")
                if not reply.more:
                    return found
        except (queue.Empty, PipeClosedError) as error:
            why = str(error) or f"it did not answer within {within_seconds:g} seconds"
            self.close(why)
            raise AwayError(f"the agent of {self._name} cannot be reached: {self.ended_because}") from error
        finally:
            with self._lock:
                del self._answers[question.id]
