"""Looks after a gateway over RADIUS: ends and shortens sessions on one that takes such requests (RFC 5176).

For a gateway that is not ours it also decides its sessions again, which nobody else does.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from evertunnel.actions.account import NEVER_COUNTED
from evertunnel.actions.decide import Decider, FindCountry, FindPlace
from evertunnel.actions.decide_alike import find_refused
from evertunnel.actions.end_expired_sessions import EXPIRED
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions, gather_session_facts
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.errors import DomainError
from evertunnel.gateways.disconnecting import Disconnecting, identify_sessions, is_named
from evertunnel.gateways.dynamic_client import DynamicClient, Wish
from evertunnel.model import Decision, Gateway, SessionState, TunnelKind
from evertunnel.protocols.radius import attributes as radius
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.snapshot import Changes
from evertunnel.storage.store import Store, Transaction, Watch
from evertunnel.storage.tables import AnyRow

_POLL_SECONDS = 0.02
_LOOK_EVERY_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_SHORTER, _NEW = timedelta(seconds=1), timedelta(seconds=60)
# A gateway that does not account never says that a session came up, nor that it ended.
_PENDING_AT_MOST = timedelta(hours=24)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a gateway takes requests, and their secrets, the newest first: two while one is rotated."""

    address: str
    port: int
    secrets: tuple[bytes, ...] = field(repr=False)


class DynamicKeeper:
    """One thread a gateway. Without `reach` it decides and says that nobody can end anything."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        reach: Reach | None,
        *,
        clock: Callable[[], datetime],
        find_country: FindCountry | None = None,
        find_place: FindPlace | None = None,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._decider = Decider(find_country, find_place)
        self._client = None if reach is None else DynamicClient(reach.address, reach.port, reach.secrets, clock)
        self._nas_identifier = "" if gateway.foreign else gateway.name
        self._disconnecting = Disconnecting(
            store, gateway.id, self._client, nas_identifier=self._nas_identifier, foreign=gateway.foreign
        )
        self._behind = True
        self._changes = Changes()
        self._look_at = self._effects_at = 0.0
        self._said = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"dynamic-{gateway.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it runs, as it does until it is stopped."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End. Sessions stay as they are."""
        self._stopped.set()

    def _work(self) -> None:
        watch = Watch(self._store)
        while not self._stopped.wait(_POLL_SECONDS):
            try:
                self.take_turn(changed=watch.changed())
                self._said = ""
            except Exception as error:  # whatever it was, denials must not wait for ever
                if str(error) != self._said:
                    known = isinstance(error, DomainError)
                    log.warning("gateway work failed", gateway=self._gateway.name, error=str(error) or repr(error),
                                exc_info=None if known else error)  # fmt: skip
                self._said = str(error)
                self._behind = True
                self._stopped.wait(_RETRY_SECONDS)
        watch.close()

    def take_turn(self, *, changed: bool) -> None:
        """Everything that is due, once. Raises UnavailableError."""
        uptime = time.monotonic()
        changed = self._behind = changed or self._behind
        if changed:
            with self._store.read() as connection:
                self._changes = self._changes.join(self._decider.refresh(connection))
        # A login that was recorded changes nothing for those who are there.
        if self._changes.kinds or uptime >= self._look_at:
            self._look_at = uptime + _LOOK_EVERY_SECONDS
            self._look()
            self._changes = Changes()
        self._behind = False
        if changed or uptime >= self._effects_at:
            done = self._disconnecting.perform_pending(self._clock())
            self._effects_at = time.monotonic() + (_LOOK_EVERY_SECONDS if done else _RETRY_SECONDS)

    def _look(self) -> None:
        """Decide live sessions again, and have the gateway end those earlier that a policy made shorter."""
        now = self._clock()
        with self._store.read() as connection:
            self._decider.refresh(connection)
            rows = sessions.list_live_of_gateway(connection, self._gateway.id)
        live = [row for row in rows if row.kind == TunnelKind.USER.value and row.state != SessionState.ENDING.value]
        over = any(_is_over(row, now) for row in live) or any(_never_came(row, now) for row in rows)
        if self._gateway.foreign and (over or find_refused(self._decider, live, now=now)):
            with self._store.write(now) as tx:
                self._decider.refresh(tx.connection, epoch=tx.epoch)
                self._end(tx)
            self._effects_at = 0.0
        if not self._decider.bounds_sessions:
            return
        shorter = {row.id: ends for row in live if (ends := self._find_earlier_end(row, now)) is not None}
        if shorter:
            self._shorten([row for row in live if row.id in shorter], shorter)

    def _end(self, tx: Transaction) -> None:
        live = sessions.list_live_of_gateway(tx.connection, self._gateway.id)
        ended = set(end_unentitled_sessions(tx, self._decider, live))
        for row in live:
            if _never_came(row, tx.now):
                sessions.end_session(tx, row.id, NEVER_COUNTED)
                continue
            if row.id in ended or row.state == SessionState.ENDING.value:
                continue
            if row.ends_at is not None and row.ends_at <= tx.now:
                sessions.mark_ending(tx, [row.id], EXPIRED)
                effect_queue.queue_effect(
                    tx, EffectKind.CUT, [self._gateway.id], EffectSubject.SESSION, row.id, cause=EXPIRED
                )

    def _find_earlier_end(self, row: AnyRow, now: datetime) -> datetime | None:
        """When a session has to end by what is decided now, if that is earlier than what was said of it before."""
        decision = self._decider.decide_tunnel(gather_session_facts(self._decider, row, now=now), with_results=False)
        ends = find_end(decision, row.created_at, now)
        if ends is None or (row.ends_at is not None and row.ends_at - ends <= _SHORTER):
            return None
        return ends

    def _shorten(self, rows: list[AnyRow], ends: dict[str, datetime]) -> None:
        with self._store.write(self._clock()) as tx:
            for row in rows:
                sessions.update_session(tx, row.id, ends_at=ends[row.id])
        if self._client is None:
            return  # what is over is ended, by whatever way there is
        now = self._clock()
        with self._store.read() as connection:
            identified = identify_sessions(connection, rows, self._nas_identifier)
        # Of a session that is new the Accept said so.
        rows = [row for row in rows if row.ends_at is not None or now - row.created_at > _NEW]
        rows = [row for row in rows if is_named(identified[row.id])]
        wishes: list[Wish] = []
        for row in rows:
            left = max(1, round((ends[row.id] - now).total_seconds()))
            timeout = radius.SESSION_TIMEOUT, left.to_bytes(4, "big")
            wishes.append((radius.Code.COA_REQUEST, [*identified[row.id], timeout]))
        try:
            answers = self._client.ask(wishes) if wishes else []
        except OSError as error:
            log.warning("sessions cannot be shortened", gateway=self._gateway.name, error=error.strerror)
            return
        for row, answer in zip(rows, answers, strict=True):
            # Its end is stored: whatever the gateway says, it is ended then.
            said = "no answer" if answer is None else answer.error or "acknowledged"
            log.info("session shortened", gateway=self._gateway.name, session=row.id, said=said)


def _is_over(row: AnyRow, now: datetime) -> bool:
    return row.ends_at is not None and bool(row.ends_at <= now)


def _never_came(row: AnyRow, now: datetime) -> bool:
    """Whether it never came up as far as anybody said, be it that it is to be ended meanwhile."""
    return row.up_at is None and bool(now - row.created_at > _PENDING_AT_MOST)


def find_end(decision: Decision, began_at: datetime, now: datetime) -> datetime | None:
    """When a session ends by a decision: a policy's time counts from its beginning, the next sign-in from now."""
    seconds = decision.settings.get("session_timeout_seconds") if decision.granted else None
    if not seconds:
        return None
    bounded = decision.lifetime_seconds is not None and seconds >= decision.lifetime_seconds
    return (now if bounded else began_at) + timedelta(seconds=seconds)
