"""The RADIUS process: takes what packets wait, answers what can be answered, commits what ended, answers that.

One thread a worker. While a commit runs, packets wait in the kernel, and all that came meanwhile share the next
commit: the slower the disk, the larger the batch. Two threads cost more in handing over than the commit does.
"""

import math
import select
import time
from collections.abc import Callable, Collection

import structlog

from evertunnel import clock
from evertunnel.servers.accounting_udp import AccountingPort
from evertunnel.servers.crew import Crew, Shift
from evertunnel.servers.logins import Elsewhere, Reply, Verdict
from evertunnel.servers.policy_server import PolicyServer
from evertunnel.servers.radsec_link import RadSecPort
from evertunnel.servers.recorder import Recorder
from evertunnel.servers.shared_port import Port
from evertunnel.storage.gateways import RADSEC

_IDLE_SECONDS = 0.25  # how long a stop waits at most, while nothing comes
_FOLLOW_SECONDS = 0.02
_TRY_AGAIN_SECONDS = 1.0
_EXPIRE_EVERY_SECONDS = 1.0
_TELL_EVERY_SECONDS = 60.0
# A commit costs what ten recorded logins do, and SQLite has one writer: workers leave each other, and whoever denies,
# room between their commits. While logins are open it is longer, for those that end in it share the next commit.
_PAUSE_PER_WORKER_SECONDS = 0.02
_SHARED_PAUSE_PER_WORKER_SECONDS = 0.05
_PAUSE_AT_MOST_SECONDS = 0.1

log = structlog.get_logger()


class RadiusProcess:
    """Serves one port, or a worker's side of it, and the accounting port beside it, until told to stop."""

    def __init__(
        self,
        port: Port,
        server: PolicyServer,
        recorder: Recorder,
        accounting: AccountingPort | None = None,
        radsec: RadSecPort | None = None,
        *,
        shift: Shift | None = None,
        do_round: Callable[[float], None] = lambda _uptime: None,
    ) -> None:
        """`do_round` is called once a second between packets, with seconds of a clock that never jumps."""
        self._port = port
        self._server = server
        self._recorder = recorder
        self._accounting = accounting
        self._radsec = radsec
        self._shift = shift or Shift(Crew(1), 0, port.steer)
        self._do_round = do_round
        self._packets = self._awake = 0
        self._committed_at = -math.inf
        self._stopping = False
        self._follow_at = self._expire_at = self._tell_at = 0.0

    def stop(self) -> None:
        """End after the packets in hand. Safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Serve until stopped."""
        poll = select.poll()
        radsec = self._radsec.sockets if self._radsec is not None else []
        for each in self._port.sockets + radsec + (self._accounting.sockets if self._accounting is not None else []):
            poll.register(each, select.POLLIN)
        verdicts: list[Verdict] = []
        while not self._stopping:
            wait = min(_IDLE_SECONDS, self._find_pause()) if verdicts else _IDLE_SECONDS
            ready = [descriptor for descriptor, _ in poll.poll(wait * 1000)]
            self._take_part()
            self._follow()
            verdicts += self._receive(ready)
            verdicts += self._do_rounds()
            if verdicts and not self._find_pause():
                self._commit(verdicts)
                verdicts = []
                self._committed_at = time.monotonic()
            if self._accounting is not None:
                self._accounting.take_turn(ready)  # after the logins: who waits to come in goes first
        if verdicts:
            self._commit(verdicts)

    def _take_part(self) -> None:
        """Before packets are taken: whose they are depends on who is awake."""
        uptime = time.monotonic()
        self._shift.take_turn(uptime, packets=self._packets)
        if self._shift.awake != self._awake:
            self._awake = self._shift.awake
            self._server.share_with(self._awake, uptime=uptime)

    def _follow(self) -> None:
        """Before packets are taken: after a silence they are judged by what changed meanwhile."""
        uptime = time.monotonic()
        if uptime >= self._follow_at:
            self._follow_at = uptime + (_FOLLOW_SECONDS if self._recorder.follow() else _TRY_AGAIN_SECONDS)

    def _find_pause(self) -> float:
        """Seconds until the next commit may begin."""
        pause = 0.0
        if self._server.open_logins:
            pause = self._awake * _SHARED_PAUSE_PER_WORKER_SECONDS
        elif self._awake > 1:
            pause = self._awake * _PAUSE_PER_WORKER_SECONDS
        return max(0.0, self._committed_at + min(pause, _PAUSE_AT_MOST_SECONDS) - time.monotonic())

    def _commit(self, verdicts: list[Verdict]) -> None:
        for reply in self._recorder.commit(verdicts, clock.now()):
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        if self._radsec is not None and reply.destination[0].startswith(RADSEC):
            self._radsec.send(reply)
        else:
            self._port.send(reply)

    def _receive(self, ready: Collection[int]) -> list[Verdict]:
        """Take the packets that wait. Replies that need no record leave at once, and so does what is another's."""
        verdicts: list[Verdict] = []
        self._packets = 0
        arrivals = self._port.receive(ready)
        if self._radsec is not None:
            arrivals += self._radsec.receive(ready)
        for arrival in arrivals:
            self._packets += 1
            data, source, _ = arrival
            match self._server.receive(data, source, now=clock.now(), uptime=time.monotonic()):
                case Reply(vouches=True) if not self._recorder.can_record(time.monotonic()):
                    pass
                case Reply() as reply:
                    self._send(reply)
                case Verdict() as verdict:
                    verdicts.append(verdict)
                case Elsewhere(worker):
                    self._port.hand_over(worker, arrival)
        return verdicts

    def _do_rounds(self) -> list[Verdict]:
        """What is due from time to time: end logins that went silent, tell what was dropped."""
        uptime = time.monotonic()
        if uptime >= self._tell_at:
            self._tell_at = uptime + _TELL_EVERY_SECONDS
            unanswered = self._radsec.take_dropped() if self._radsec is not None else {}
            if dropped := self._server.take_dropped() | self._port.take_dropped() | unanswered:
                log.warning("packets dropped", **dropped)
            if unrecorded := self._recorder.take_unrecorded():
                log.warning("refusals of strangers not recorded", **unrecorded)
        if uptime < self._expire_at:
            return []
        if used := self._server.askers.take_used():
            self._recorder.note_secrets(used, clock.now())
        self._expire_at = uptime + _EXPIRE_EVERY_SECONDS
        self._do_round(uptime)
        return self._server.expire(uptime)
