"""Commits verdicts and only then lets their replies go. All that wait share one commit."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import structlog

from evertunnel.actions.authenticate import decide_login, record_failure, record_login
from evertunnel.actions.decide import Decider
from evertunnel.actions.nt_hashes import store_chosen_password
from evertunnel.errors import UnavailableError
from evertunnel.model import Decision, Outcome, Reason
from evertunnel.rate_limit import RateLimits, name_source
from evertunnel.servers.logins import UNABLE_SECONDS, Reply, Verdict
from evertunnel.servers.replies import build_accept, build_reject
from evertunnel.storage import gateways
from evertunnel.storage.snapshot import ACCESS_AUTHORITY, GATEWAY, Changes
from evertunnel.storage.store import Store, Transaction, Watch

# Anybody on the internet can be refused, and each refusal is a row: of those who prove no certificate of ours, no more
# than this a second are recorded for each gateway, and for each certificate that was shown without proof.
_STRANGERS_PER_SECOND = 20
_TELL_OF_A_SOURCE_EVERY_SECONDS = 60

log = structlog.get_logger()


class Recorder:
    """Decides at the epoch of the transaction that records, so that a grant and a denial cannot cross."""

    def __init__(
        self,
        store: Store,
        decider: Decider,
        *,
        on_gateways_changed: Callable[[], None],
        on_authorities_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._decider = decider
        self._on_gateways_changed = on_gateways_changed
        self._on_authorities_changed = on_authorities_changed
        self._watch = Watch(store)
        self._strangers = RateLimits(per_second=_STRANGERS_PER_SECOND)
        self._sources = RateLimits(per_second=1 / _TELL_OF_A_SOURCE_EVERY_SECONDS, burst=1)
        self._unrecorded: Counter[str] = Counter()
        self._failed_at: float | None = None
        self._behind = False  # a change was seen and could not be read yet

    def follow(self) -> bool:
        """Keep the state in memory fresh for the decisions that are made before anything is recorded.

        False: it could not be read. It is tried again at the next call.
        """
        behind, self._behind = self._behind, True
        changes = Changes()
        try:
            self._behind = self._watch.changed() or behind
            if not self._behind:
                return True
            with self._store.read() as connection:
                changes = self._decider.refresh(connection)
        except UnavailableError as error:
            log.warning("cannot read the database", error=str(error))
            return False
        finally:
            self._tell(changes)  # also when the reading ended badly: the decider knows it now, and tells it once
        self._behind = False
        return True

    def can_record(self, uptime: float) -> bool:
        """Whether nothing says that we could not record a login now."""
        return not self._behind and (self._failed_at is None or uptime - self._failed_at >= UNABLE_SECONDS)

    def commit(self, verdicts: Sequence[Verdict], now: datetime) -> list[Reply]:
        """Record logins that ended; returns the replies that may leave now.

        When nothing can be recorded there are none: the gateway repeats, or asks the next server. The repetition is
        recorded afresh.
        """
        changes = Changes()
        try:
            self._store_passwords(verdicts, now)
            with self._store.write(now) as tx:
                changes = self._decider.refresh(tx.connection, epoch=tx.epoch)
                answered = [(verdict, self._record(tx, verdict)) for verdict in verdicts]
        except (UnavailableError, MemoryError) as error:
            log.error("cannot record", logins=len(verdicts), error=str(error) or "out of memory")
            self._failed_at = max(verdict.uptime for verdict in verdicts)
            for verdict in verdicts:
                if verdict.exchange is not None:
                    verdict.exchange.remembered.keep(Reply(b"", verdict.exchange.source, verdict))
            return []
        except Exception as error:  # a bug of ours over one login ends that login, not the others of its batch
            log.exception("cannot record", logins=len(verdicts))
            return self._commit_apart(verdicts, now, error)
        finally:
            self._tell(changes)  # also when nothing was committed: the decider knows it now, and tells it once
        self._failed_at = None
        replies = []
        for verdict, reply in answered:
            if reply is not None and verdict.exchange is not None:
                verdict.exchange.remembered.keep(reply)
                replies.append(reply)
        with suppress(MemoryError):  # it was committed: whatever else, the replies leave
            for reply in replies:
                if reply.verdict is not None:
                    reply.verdict.keep_sent(reply.data)
        return replies

    def _store_passwords(self, verdicts: Sequence[Verdict], now: datetime) -> None:
        """Those that clients chose and were told are theirs, apart: they raise the epoch that a grant holds still."""
        for verdict in verdicts:
            new = verdict.login.new_password
            if new is not None:
                with self._store.write(now) as tx:
                    stored = store_chosen_password(tx, new)
                verdict.login.new_password = None
                if stored:
                    verdict.login.password_mark = new.mark

    def _tell(self, changes: Changes) -> None:
        if GATEWAY in changes.kinds:
            self._on_gateways_changed()
        if ACCESS_AUTHORITY in changes.kinds:
            self._on_authorities_changed()

    def _records_stranger(self, verdict: Verdict) -> bool:
        login, shown = verdict.login, verdict.login.certificate
        kept_apart = shown.id if shown else ""
        if verdict.refusal is not None and verdict.refusal.reason is Reason.TOO_MANY_FAILURES:
            if not self._sources.allows((login.gateway.id, name_source(login.client_address)), verdict.uptime):
                return False
            kept_apart = verdict.refusal.reason.value
        return self._strangers.allows((login.gateway.id, kept_apart), verdict.uptime)

    def _commit_apart(self, verdicts: Sequence[Verdict], now: datetime, error: Exception) -> list[Reply]:
        """Record each on its own; the one that cannot be, as refused by an error of ours, or not at all."""
        if len(verdicts) > 1:
            return [reply for verdict in verdicts for reply in self.commit([verdict], now)]
        (verdict,) = verdicts
        if verdict.refusal is not None and verdict.refusal.reason is Reason.INTERNAL_ERROR:
            return []
        detail = f"an error of ours: {type(error).__name__}"
        refusal = Decision(Outcome.REFUSED, Reason.INTERNAL_ERROR, detail)
        return self.commit([replace(verdict, accepted=None, refusal=refusal)], now)

    def take_unrecorded(self) -> dict[str, int]:
        """How many refusals were not recorded since this was asked last, by gateway."""
        unrecorded, self._unrecorded = self._unrecorded, Counter()
        return dict(unrecorded)

    def note_secrets(self, used: Mapping[str, Set[int]], now: datetime) -> None:
        """Say which of two secrets gateways use, by position; it only informs, so a failure is not told."""
        with suppress(UnavailableError), self._store.write(now) as tx:
            gateways.note_secrets_used(tx, used)

    def _record(self, tx: Transaction, verdict: Verdict) -> Reply | None:
        login = verdict.login.facts(verdict.uptime, with_story=True)
        if verdict.refusal is not None:
            if verdict.login.proven or self._records_stranger(verdict):
                record_failure(tx, login, verdict.refusal)
            else:
                self._unrecorded[login.gateway.name] += 1
            return build_reject(verdict)
        if verdict.sent and verdict.exchange is not None:
            # The gateway did not hear our Accept. Meanwhile it may no longer be true.
            _, decision = decide_login(self._decider, login, now=tx.now)
            if decision.granted:
                return Reply(verdict.sent, verdict.exchange.source, verdict)
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
