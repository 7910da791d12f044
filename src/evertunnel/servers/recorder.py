"""Commits verdicts and only then lets their replies go. Verdicts that wait while one commit runs share the next."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from evertunnel.actions.authenticate import decide_login, record_failure, record_login
from evertunnel.actions.decide import Decider
from evertunnel.errors import UnavailableError
from evertunnel.model import Decision, Outcome, Reason
from evertunnel.servers.logins import Reply, Verdict
from evertunnel.servers.replies import build_accept, build_reject
from evertunnel.storage.snapshot import GATEWAY
from evertunnel.storage.store import Store, Transaction, Watch

_BATCH_AT_MOST = 64
_POLL_SECONDS = 0.02
_TRY_AGAIN_SECONDS = 1.0

log = structlog.get_logger()


class Recorder:
    """One thread that writes, for one that receives packets."""

    def __init__(
        self,
        store: Store,
        decider: Decider,
        *,
        send: Callable[[Reply], None],
        clock: Callable[[], datetime],
        on_gateways_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._decider = decider
        self._send = send
        self._clock = clock
        self._on_gateways_changed = on_gateways_changed
        self._queue: queue.SimpleQueue[Verdict | None] = queue.SimpleQueue()
        self._behind = False  # a change was seen and could not be read yet
        self._try_again_at = 0.0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def stop(self) -> None:
        """Record what waits, then end."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def put(self, verdict: Verdict) -> None:
        """Hand over a login that ended. Never blocks."""
        self._queue.put(verdict)

    @property
    def running(self) -> bool:
        """Whether verdicts are still taken."""
        return self._thread.is_alive()

    def _run(self) -> None:
        watch = Watch(self._store)
        try:
            while True:
                verdicts, last = self._take()
                try:
                    if verdicts:
                        self._commit(verdicts)
                    else:
                        self._keep_up(watch)
                except Exception:  # a bug of ours over one round must not end all rounds
                    log.exception("recording failed")
                if last:
                    return
        finally:
            watch.close()

    def _take(self) -> tuple[list[Verdict], bool]:
        verdicts: list[Verdict] = []
        try:
            item = self._queue.get(timeout=_POLL_SECONDS)
            while item is not None:
                verdicts.append(item)
                if len(verdicts) >= _BATCH_AT_MOST:
                    return verdicts, False
                item = self._queue.get_nowait()
        except queue.Empty:
            return verdicts, False
        return verdicts, True

    def _keep_up(self, watch: Watch) -> None:
        """Keep the state in memory fresh for the decisions that are made before anything is recorded."""
        uptime = time.monotonic()
        if uptime < self._try_again_at:
            return
        self._try_again_at = uptime + _TRY_AGAIN_SECONDS  # unless this goes well
        self._behind = watch.changed() or self._behind
        gateways_changed = False
        if self._behind:
            try:
                with self._store.read() as connection:
                    gateways_changed = GATEWAY in self._decider.refresh(connection).kinds
            except UnavailableError as error:
                log.warning("cannot read the database", error=str(error))
                return
        self._behind, self._try_again_at = False, 0.0
        if gateways_changed:
            self._on_gateways_changed()

    def _commit(self, verdicts: Sequence[Verdict]) -> None:
        try:
            with self._store.write(self._clock()) as tx:
                gateways_changed = GATEWAY in self._decider.refresh(tx.connection).kinds
                replies = [self._record(tx, verdict) for verdict in verdicts]
        except UnavailableError as error:
            # Silence: the gateway repeats, or asks the next server. The repetition is recorded afresh.
            log.error("cannot record", logins=len(verdicts), error=str(error))
            for verdict in verdicts:
                if verdict.exchange is not None:
                    verdict.exchange.remembered.reply = Reply(b"", verdict.exchange.source, verdict)
            return
        except Exception as error:  # a bug of ours over one login ends that login, not the others of its batch
            log.exception("cannot record", logins=len(verdicts))
            self._commit_apart(verdicts, error)
            return
        for verdict, reply in zip(verdicts, replies, strict=True):
            if reply is not None and verdict.exchange is not None:
                if reply.verdict is not None:
                    reply.verdict.sent = reply
                verdict.exchange.remembered.reply = reply
                self._send(reply)
        if gateways_changed:
            self._on_gateways_changed()

    def _commit_apart(self, verdicts: Sequence[Verdict], error: Exception) -> None:
        """Record each on its own; the one that cannot be, as refused by an error of ours, or not at all."""
        if len(verdicts) > 1:
            for verdict in verdicts:
                self._commit([verdict])
            return
        (verdict,) = verdicts
        if verdict.refusal is None or verdict.refusal.reason is not Reason.INTERNAL_ERROR:
            detail = f"an error of ours: {type(error).__name__}"
            refusal = Decision(Outcome.REFUSED, Reason.INTERNAL_ERROR, detail)
            self._commit([replace(verdict, accepted=None, refusal=refusal)])

    def _record(self, tx: Transaction, verdict: Verdict) -> Reply | None:
        login = verdict.login.facts(verdict.uptime)
        if verdict.refusal is not None:
            record_failure(tx, login, verdict.refusal)
            return build_reject(verdict)
        if verdict.sent is not None:
            # The gateway did not hear our Accept. Meanwhile it may no longer be true.
            _, decision = decide_login(self._decider, login, now=tx.now)
            if decision.granted:
                return verdict.sent
            record_failure(tx, login, decision)
            return build_reject(verdict)
        decision, attempt = record_login(tx, self._decider, login)
        if not decision.granted:
            return build_reject(verdict)
        assert attempt.session_id is not None
        user = self._decider.find_user(attempt.user_id)
        return build_accept(
            verdict,
            session_id=attempt.session_id,
            user_name=user.name if user else "",
            settings=decision.settings,
        )
