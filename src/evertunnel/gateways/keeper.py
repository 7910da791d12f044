"""Keeps one gateway's strongSwan as it should be: its configuration, its tunnels, its effects.

Two threads a gateway: one listens to its events, one does all the rest. A gateway that is down or slow blocks its own
two threads and nobody else.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from evertunnel.actions.decide import Decider, FindCountry, FindPlace
from evertunnel.actions.end_expired_sessions import end_expired_sessions
from evertunnel.actions.follow_tunnel import (
    TunnelReport,
    follow_rekey,
    is_recorded,
    join_user_session,
    open_device_session,
    record_device_refusal,
    record_unrecognised,
)
from evertunnel.actions.move_tunnel import move_tunnel
from evertunnel.actions.reconcile_gateway import ListedTunnel, is_settled, list_differences, reconcile_gateway
from evertunnel.errors import DomainError, UnavailableError
from evertunnel.gateways.charon_log import explain_refusal, find_child_fault, is_device_attempt
from evertunnel.gateways.control import Strongswan
from evertunnel.gateways.departures import Departures
from evertunnel.gateways.effect_worker import EffectWorker
from evertunnel.gateways.enforcement import Enforcement
from evertunnel.gateways.event_queue import EventQueue
from evertunnel.gateways.loading import Loader, LoadModel
from evertunnel.gateways.presence import Presence
from evertunnel.gateways.rotation import Rotation
from evertunnel.gateways.stories import Line, Stories, build_steps, list_texts, measure
from evertunnel.gateways.termination import terminate_tunnel
from evertunnel.gateways.traffic import Idle, Traffic
from evertunnel.gateways.tunnels import Tunnel, find_device_certificate_id, read_address, read_tunnel
from evertunnel.model import Gateway, TunnelKind
from evertunnel.rate_limit import RateLimit
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.store import Store, Watch
from evertunnel.storage.tables import AnyRow
from evertunnel.vici_connection import AwayError, Section, ViciConnection

_POLL_SECONDS = 0.02
_IDLE_SECONDS = 0.1
_RECONCILE_EVERY_SECONDS = 5.0
# Where a look costs little it is taken more often: `session list` shows what it saw.
_LOOK_AT_MOST_EVERY_SECONDS = 1.0
_LOOK_COST = 100
_LOAD_EVERY_SECONDS = 24 * 3600.0  # its certificate may have been renewed
_RECONNECT_EVERY_SECONDS = 0.5
_RETRY_EFFECTS_EVERY_SECONDS = 0.25
_LOOK_AGAIN_SECONDS = 0.25
# Then a look at what else is due: a flood of events must not keep a denial waiting.
_EVENTS_AT_ONCE = 200
_SEEN_EVERY = timedelta(minutes=1)
# A look at very many tunnels is broken off for a change, but not for ever.
_TUNNELS_AT_ONCE = 500
_OVERTAKEN_AT_MOST = 20
# Whatever changes is decided at once. This is for what only time takes away, such as a sign-in that grows too old.
_DECIDED_AT_ONCE = 1_000
# charon hands out log lines later than the event they explain: a little here, more on a busy machine.
_STORY_SECONDS, _STORY_AT_MOST_SECONDS = 0.25, 2.0
_WITHOUT_CHILD_SECONDS = 10.0
# Anybody on the internet can be refused, and each refusal is a row: more than this a second are not recorded.
_REFUSALS_PER_SECOND = 50

log = structlog.get_logger()


class GatewayKeeper:
    """One gateway's, on this machine or on another host."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        strongswan: Strongswan,
        *,
        clock: Callable[[], datetime],
        find_country: FindCountry | None = None,
        find_place: FindPlace | None = None,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._decider = Decider(find_country, find_place)
        self._enforcement = Enforcement(store, gateway, self._decider, clock)
        self._vici = strongswan.control
        self._listener = strongswan.listener
        self._loader = strongswan.loader
        self._end_later = strongswan.end_later
        self._effects = EffectWorker(store, gateway.id, self._vici, clock)
        self._events = EventQueue()
        self._presence = Presence(store, gateway, clock)
        self._said = ""
        self._stories = Stories()
        self._other_authorities: tuple[str, ...] = ()
        self._refusals = RateLimit(per_second=_REFUSALS_PER_SECOND)
        self._traffic = Traffic()
        self._idle = Idle(_WITHOUT_CHILD_SECONDS)
        self._departures = Departures(store, gateway, clock)
        self._rotation = Rotation(_DECIDED_AT_ONCE)
        self._session_ids: dict[str, str] = {}
        self._closed_ids: dict[str, str] = {}
        self._told_ends: frozenset[tuple[str, str]] = frozenset()
        self._load_due = False
        self._lost: list[str] = []
        self._load_at = self._reconcile_at = self._effects_at = 0.0
        self._load_again_at = time.monotonic() + _LOAD_EVERY_SECONDS
        self._doubted = False
        self._overtaken, self._overtakings = False, 0
        self._refused: deque[tuple[float, Tunnel]] = deque()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, name=f"listen-{gateway.name}", daemon=True),
            threading.Thread(target=self._work, name=f"work-{gateway.name}", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether both threads run, as they do until it is stopped."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """End both threads. Tunnels stay as they are."""
        self._stopped.set()
        if self._threads[1].ident is not None:  # it was started
            self._threads[1].join(timeout=5)

    def _listen(self) -> None:
        """Hand over events; a None says that the connection is new and everything must be looked at afresh."""
        while not self._stopped.is_set():
            try:
                events = self._listener.listen(timeout_seconds=_IDLE_SECONDS)
                first = True
                for event in events:
                    if first:
                        self._events.put(None)
                        self._presence.hear()
                        first = False
                    if event is not None:
                        self._events.put(event)
                    if self._stopped.is_set():
                        return
            except UnavailableError as error:
                self._presence.miss(str(error))
            self._stopped.wait(_RECONNECT_EVERY_SECONDS)

    def _work(self) -> None:
        watch: Watch | None = None
        while not self._stopped.is_set():
            try:
                watch = watch or Watch(self._store)
                try:
                    self._take_turn(watch)
                finally:
                    self._presence.store_change()
            except Exception as error:  # whatever it was, denials must not wait for ever
                self._say_failed(error)
                self._reconcile_at = 0.0  # the event in hand is lost
                self._stopped.wait(_RECONNECT_EVERY_SECONDS)
        if watch is not None:
            watch.close()

    def _take_turn(self, watch: Watch) -> None:
        """Everything that is due, once."""
        self._handle_events()
        self._record_refusals()
        if self._events.take_lost():
            log.warning("reports of the gateway were lost", gateway=self._gateway.name)
            self._reconcile_at = 0.0
        self._load_if_due()
        self._overtaken = changed = watch.changed() or self._overtaken
        if changed:
            with self._store.read() as connection:
                self._enforcement.refresh(connection)
            self._overtaken = False  # only now: a change that could not be read is read the next time
        if self._enforcement.is_due and self._enforcement.enforce():
            self._load_due = True
        uptime = time.monotonic()
        if changed or uptime >= self._effects_at:
            done = self._effects.perform_pending()
            self._effects_at = uptime + (_RECONCILE_EVERY_SECONDS if done else _RETRY_EFFECTS_EVERY_SECONDS)
        if uptime >= self._reconcile_at:
            certain = self._reconcile(watch)
            self._presence.hear_answer()
            self._said = ""
            seconds = min(
                _RECONCILE_EVERY_SECONDS,
                max(_LOOK_AT_MOST_EVERY_SECONDS, _LOOK_COST * (time.monotonic() - uptime)),
                self._keep_ends(),
            )
            self._reconcile_at = uptime + (seconds if certain else _LOOK_AGAIN_SECONDS)
            self._lost = self._lost or self._loader.list_lost()
            self._load_due = self._load_due or bool(self._lost)

    def _load_if_due(self) -> None:
        """Nothing is loaded before the listener hears: a tunnel that comes up unheard would wait for the next look."""
        uptime = time.monotonic()
        if not (self._load_due or uptime >= self._load_again_at) or uptime < self._load_at:
            return
        self._load_at = uptime + _RECONNECT_EVERY_SECONDS
        try:
            self._load()
        except Exception as error:  # without a signer nothing can be loaded, but everybody can be cut
            self._say_failed(error)
            return
        self._load_due, self._reconcile_at, self._effects_at = False, 0.0, 0.0
        self._load_again_at = uptime + _LOAD_EVERY_SECONDS

    def _say_failed(self, error: Exception) -> None:
        """Once for the same failure: it is tried again twice a second."""
        if isinstance(error, AwayError):
            self._presence.miss(str(error))
        elif isinstance(error, DomainError):
            if str(error) != self._said:
                log.warning("gateway work failed", gateway=self._gateway.name, error=str(error))
            self._said = str(error)
        else:
            log.error("gateway work failed", gateway=self._gateway.name, exc_info=error)

    def _handle_events(self) -> None:
        """Handle what came, waiting a moment for the first. Says when the gateway's connection is new."""
        for position in range(_EVENTS_AT_ONCE):
            try:
                uptime, event = self._events.get(timeout=0 if position else _POLL_SECONDS)
            except queue.Empty:
                break
            if event is None:
                self._load_due = True
                self._stories.forget_all()
            else:
                self._handle(uptime, *event)
        self._departures.record(self._session_ids, self._closed_ids)

    def _handle(self, uptime: float, name: str, message: Section) -> None:
        if name == "log":
            self._stories.keep_line(uptime, message)
        elif name == "ike-updown":
            up = message.pop("up", "no") == "yes"
            for connection, section in message.items():
                tunnel = read_tunnel(connection, section)
                if tunnel.kind is not None and up:
                    self._departures.record(self._session_ids, self._closed_ids)
                    self._follow_up(uptime, tunnel, tunnel.kind)
                elif tunnel.kind is not None:
                    self._follow_down(uptime, tunnel)
        elif name == "ike-rekey":
            self._departures.record(self._session_ids, self._closed_ids)
            for connection, section in message.items():
                old = read_tunnel(connection, section["old"])
                new = read_tunnel(connection, section["new"])
                self._traffic.follow_rekey(old.spis, new.spis)
                if session_id := self._session_ids.pop(old.spis, None):
                    self._session_ids[new.spis] = session_id
                with self._store.write(self._clock()) as tx:
                    follow_rekey(tx, self._gateway, _report(old), _report(new))
        elif name == "ike-update":
            self._follow_move(message)
        elif name in ("child-updown", "child-rekey"):
            up = message.pop("up", "no") == "yes"
            for connection, section in message.items():
                self._count_child(read_tunnel(connection, section), ended=name == "child-updown" and not up)

    def _follow_move(self, message: Section) -> None:
        """A client's address changed (MOBIKE, or another NAT): the event has the new one beside the tunnel's old."""
        for connection, section in message.items():
            if not isinstance(section, dict):
                continue  # one of the addresses
            tunnel = read_tunnel(connection, section)
            if tunnel.kind is None:
                continue
            address = read_address(message.get("remote-host") or tunnel.remote_address)
            with self._store.write(self._clock()) as tx:
                self._enforcement.refresh(tx.connection)
                if move_tunnel(tx, self._decider, self._gateway, replace(_report(tunnel), remote_address=address)):
                    self._effects_at = 0.0

    def _find_fault(self, tunnel: Tunnel) -> str | None:
        """A tunnel without a child carries nothing, and would show as up for ever."""
        if not self._idle.is_over(tunnel.spis, tunnel.carries, time.monotonic()):
            return None
        fault = find_child_fault(list_texts(self._stories.get(tunnel.unique_id)))
        log.warning(
            "tunnel ended: it carried nothing", gateway=self._gateway.name, who=tunnel.claimed_identity, why=fault
        )
        return fault

    def _count_child(self, tunnel: Tunnel, *, ended: bool) -> None:
        """What a child counted last is said when it goes, which is after its tunnel went."""
        if tunnel.kind is None:
            return
        octets = self._traffic.count(tunnel.spis, tunnel.children)
        if ended:
            self._departures.add_octets(tunnel.spis, octets)

    def _follow_down(self, uptime: float, tunnel: Tunnel) -> None:
        self._departures.add_tunnel(_report(tunnel))
        if tunnel.connecting:
            self._refused.append((uptime, tunnel))
        else:
            self._stories.forget(tunnel.unique_id)

    def _follow_up(self, uptime: float, tunnel: Tunnel, kind: TunnelKind) -> None:
        report = _report(tunnel, self._stories.get(tunnel.unique_id), uptime=uptime)
        granted = True
        with self._store.write(self._clock()) as tx:
            self._enforcement.refresh(tx.connection)
            if kind is TunnelKind.DEVICE:
                # Recorded before: what was taken away since then is an effect, or ends with the next look.
                granted = (
                    is_recorded(tx, self._gateway, report)
                    or open_device_session(tx, self._decider, self._gateway, report).granted
                )
            else:
                granted = join_user_session(tx, self._gateway, report) is not None
                if not granted:
                    record_unrecognised(tx, self._gateway, report, kind)
        self._stories.forget(tunnel.unique_id)
        if not granted:
            terminate_tunnel(self._vici, tunnel.unique_id, tunnel.spis)

    def _record_refusals(self) -> None:
        """Device tunnels that did not come up, once their story is complete: log lines come after the event."""
        while self._refused:
            ended, tunnel = self._refused[0]
            waited = time.monotonic() - ended
            lines = self._stories.get(tunnel.unique_id)
            story = list_texts(lines)
            if waited < (_STORY_SECONDS if is_device_attempt(story) else _STORY_AT_MOST_SECONDS):
                return
            self._refused.popleft()
            self._stories.forget(tunnel.unique_id)
            if not is_device_attempt(story) or not self._refusals.allows(time.monotonic()):
                continue
            reason, detail = explain_refusal(story, other_authorities=self._other_authorities)
            with self._store.write(self._clock()) as tx:
                self._enforcement.refresh(tx.connection)
                report = _report(tunnel, lines, uptime=ended)
                record_device_refusal(tx, self._decider, self._gateway, report, reason, detail)

    def _load(self) -> None:
        self._other_authorities = self._loader.load().other_authorities
        if self._lost:
            log.warning("strongSwan lost what it was told; loaded anew", gateway=self._gateway.name, lost=self._lost)
        else:
            log.info("gateway loaded", gateway=self._gateway.name)
        self._lost = []

    def _reconcile(self, watch: Watch) -> bool:
        """Look at the gateway. False: something must be looked at again before it is acted on."""
        tunnels = self._list_tunnels(watch)
        if tunnels is None:
            return False
        with self._store.read() as connection:
            live = sessions.list_live_of_gateway(connection, self._gateway.id)
            waiting = effect_queue.list_sessions_to_cut(connection, self._gateway.id)
        if len(tunnels) >= _TUNNELS_AT_ONCE and self._must_give_way(watch):
            return False
        self._overtakings = 0
        rows = {row.spis: row for row in live if row.spis}
        # Who closed just now is kept for one look: its children report after it.
        self._session_ids = self._closed_ids | {spis: row.id for spis, row in rows.items()}
        self._closed_ids = {}
        self._traffic.keep_only({tunnel.spis for tunnel in tunnels})
        listed = []
        for tunnel in tunnels:
            if tunnel.kind is not None and tunnel.established:
                row = rows.get(tunnel.spis)
                stored = (row.bytes_in, row.bytes_out) if row is not None else (0, 0)
                octets = self._traffic.count(tunnel.spis, tunnel.children, stored=stored)
                listed.append(ListedTunnel(tunnel.kind, _report(tunnel), *octets, self._find_fault(tunnel)))
            elif tunnel.kind is not None and tunnel.leaving:
                terminate_tunnel(self._vici, tunnel.unique_id, tunnel.spis)
        self._idle.keep_only({tunnel.spis for tunnel in tunnels})
        now = self._clock()
        decided = self._rotation.take(row.id for row in live)
        if not self._doubted and is_settled(self._decider, live, listed, now=now, decided=decided, waiting=waiting):
            self._store_traffic(rows, listed, now)
            return True
        with self._store.write(now) as tx:
            self._enforcement.refresh(tx.connection)
            end_expired_sessions(tx, self._gateway.id)
            # All of them count at the second look: whoever rekeys without end would be new at each.
            differences = list_differences(tx, self._gateway, listed)
            doubtful = frozenset() if self._doubted else differences
            waiting = effect_queue.list_sessions_to_cut(tx.connection, self._gateway.id)
            cut = reconcile_gateway(
                tx, self._decider, self._gateway, listed, doubtful=doubtful, decided=decided, waiting=waiting
            )
            self._effects_at = 0.0  # what it queued is not to wait
        self._doubted = bool(doubtful)
        spis = {tunnel.unique_id: tunnel.spis for tunnel in tunnels}
        for number in cut:
            terminate_tunnel(self._vici, number, spis[number])
        return not self._doubted

    def _list_tunnels(self, watch: Watch) -> list[Tunnel] | None:
        """All of them; None when something changed meanwhile: a denial does not wait for a long look."""
        tunnels = []
        for number, section in enumerate(self._vici.list_tunnels(), 1):
            tunnels.append(read_tunnel(section["name"], section))
            if number % _TUNNELS_AT_ONCE == 0 and self._must_give_way(watch):
                return None
        return tunnels

    def _must_give_way(self, watch: Watch) -> bool:
        """Whether a look is to be broken off now for a change. The next turn begins with that."""
        if self._overtakings >= _OVERTAKEN_AT_MOST or not watch.changed():
            return False
        self._overtaken = True
        self._overtakings += 1
        return True

    def _store_traffic(self, rows: Mapping[str, AnyRow], listed: Sequence[ListedTunnel], now: datetime) -> None:
        changed = {}
        for tunnel in listed:
            row, octets = rows[tunnel.report.spis], (tunnel.bytes_in, tunnel.bytes_out)
            seen = row.seen_at is not None and now - row.seen_at < _SEEN_EVERY
            if octets != (row.bytes_in, row.bytes_out) or not seen:
                changed[row.id] = octets
        if changed:
            with self._store.write(now) as tx:
                sessions.store_traffic(tx, changed)

    def _keep_ends(self) -> float:
        """Have the gateway keep the ends of sessions by itself, if it can. Returns seconds until the first of them."""
        with self._store.read() as connection:
            rows = sessions.list_ending_by_themselves(connection, self._gateway.id)
        now = self._clock()
        left = {row.id: max(0.0, (row.ends_at - now).total_seconds()) for row in rows}
        if self._end_later is not None:
            for row in rows:
                if (row.id, row.spis) not in self._told_ends:  # after a rekey it may know the old indexes only
                    self._end_later(row.unique_id, row.spis, round(left[row.id]))
            self._told_ends = frozenset((row.id, row.spis) for row in rows)
        return min(left.values(), default=_RECONCILE_EVERY_SECONDS) + _POLL_SECONDS


def build_local(vici_socket: str, load_model: LoadModel) -> Strongswan:
    """A strongSwan on this machine. `load_model` gives what it must be told, and the private key of its certificate."""
    control = ViciConnection(vici_socket)
    return Strongswan(control, ViciConnection(vici_socket), Loader(control, load_model))


def _report(tunnel: Tunnel, lines: Sequence[Line] = (), *, uptime: float = 0.0) -> TunnelReport:
    """`uptime` is when the gateway reported it."""
    return TunnelReport(
        unique_id=tunnel.unique_id,
        spis=tunnel.spis,
        remote_address=tunnel.remote_address,
        claimed_identity=tunnel.claimed_identity,
        virtual_addresses=tunnel.virtual_addresses,
        certificate_id=find_device_certificate_id(tunnel.claimed_identity),
        story=build_steps(lines),
        reported_ms=measure(lines, uptime),
    )
