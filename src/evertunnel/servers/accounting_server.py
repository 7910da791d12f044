"""The accounting side of RADIUS (RFC 2866): datagrams in, what was counted stored, and only then the answers."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from evertunnel.actions.account import RESTARTED, SHUT_DOWN, AccountingReport, RestartReport, account, restart
from evertunnel.errors import UnavailableError
from evertunnel.model import Gateway
from evertunnel.protocols.radius import attributes as radius
from evertunnel.protocols.radius.accounting import (
    AccountingRequest,
    Status,
    decode_accounting_request,
    encode_accounting_response,
    explain_terminate_cause,
)
from evertunnel.protocols.radius.client_address import read_client_address
from evertunnel.protocols.radius.duplicates import Duplicates, Remembered
from evertunnel.protocols.radius.packet import PacketError
from evertunnel.protocols.radius.status import decode_status_server, is_status_server
from evertunnel.rate_limit import RateLimits
from evertunnel.servers.askers import Asker
from evertunnel.servers.logins import STATUS_PER_SECOND, UNABLE_SECONDS, Address, Elsewhere, Reply
from evertunnel.servers.workers import ALONE, Place
from evertunnel.storage.store import Store, Transaction

_TEXT_AT_MOST = 256
_CLASSES_AT_MOST = 8
# As we gave it out; a Class of somebody else is nothing to us.
_SESSION_ID = re.compile(rb"[0-9a-f]{16}")
# What a gateway says of longer ago is not believed: its clock is wrong, or it lies.
_LATE_AT_MOST = timedelta(days=1)
_SESSION_AT_MOST_SECONDS = 366 * 24 * 3600
_RESTARTS = {Status.ON: RESTARTED, Status.OFF: SHUT_DOWN}

FindAsker = Callable[[str], Asker | None]

log = structlog.get_logger()


@dataclass(slots=True)
class Pending:
    """A request that waits for its commit, and the answer it gets then."""

    report: AccountingReport | RestartReport
    key: Hashable
    remembered: Remembered[Reply]
    reply: Reply


class AccountingServer:
    """Repeated requests, and what is to be stored. One thread calls it."""

    def __init__(self, store: Store, find_asker: FindAsker, place: Place = ALONE) -> None:
        self._store = store
        self._place = place
        self._find_asker = find_asker
        self._status_limits = RateLimits(per_second=STATUS_PER_SECOND, burst=2 * STATUS_PER_SECOND)
        self._duplicates: Duplicates[Reply] = Duplicates()
        self._dropped: Counter[str] = Counter()
        self._failed_at: float | None = None

    def receive(
        self, data: bytes, source: Address, *, now: datetime, uptime: float
    ) -> Reply | Pending | Elsewhere | None:
        """Take one datagram. None: nothing is to be sent, now or later."""
        asker = self._find_asker(source[0])
        if asker is None:
            self._dropped["unknown_gateway"] += 1
            return None
        try:
            if is_status_server(data):
                return self._answer_status(asker, data, source, uptime)
            request, secret = asker.read(decode_accounting_request, data)
        except PacketError:
            self._dropped["malformed_or_forged"] += 1
            return None
        owner = self._place.find_first_owner(request.authenticator, awake=self._place.count)
        if owner != self._place.number:
            return Elsewhere(owner)
        report = build_report(request, asker.gateway, now)
        if report is None:
            self._dropped["without_session_id"] += 1
            return None
        key = (source, request.identifier, request.authenticator)
        remembered = self._duplicates.find(key, uptime)
        if remembered is not None:
            return remembered.reply
        reply = Reply(encode_accounting_response(request, secret), source)
        return Pending(report, key, self._duplicates.begin(key, uptime), reply)

    def commit(self, waiting: Sequence[Pending], now: datetime) -> list[Reply]:
        """Store what came; returns the answers that may leave now. What was not stored is asked for again."""
        try:
            with self._store.write(now) as tx:
                for pending in waiting:
                    _store(tx, pending.report)
        except UnavailableError as error:
            log.error("cannot account", requests=len(waiting), error=str(error))
            self._forget(waiting)
            self._failed_at = waiting[0].remembered.seen_at
            return []
        except Exception:  # a bug of ours over one request must not lose the others of its batch
            if len(waiting) > 1:
                return [reply for pending in waiting for reply in self.commit([pending], now)]
            log.exception("cannot account")
            self._forget(waiting)
            return []
        self._failed_at = None
        for pending in waiting:
            pending.remembered.reply = pending.reply
        return [pending.reply for pending in waiting]

    def take_dropped(self) -> dict[str, int]:
        """How many packets were dropped since this was asked last, by reason."""
        dropped, self._dropped = self._dropped, Counter()
        return dict(dropped)

    def _answer_status(self, asker: Asker, data: bytes, source: Address, uptime: float) -> Reply | None:
        status, secret = asker.read(decode_status_server, data)
        if not self._status_limits.allows(asker.gateway.id, uptime):
            self._dropped["too_many_status_queries"] += 1
            return None
        unable = self._failed_at is not None and uptime - self._failed_at < UNABLE_SECONDS
        return None if unable else Reply(encode_accounting_response(status, secret), source)

    def _forget(self, waiting: Sequence[Pending]) -> None:
        for pending in waiting:
            self._duplicates.forget(pending.key)


def build_report(
    request: AccountingRequest, gateway: Gateway, now: datetime
) -> AccountingReport | RestartReport | None:
    """What a request says, bounded; None when it speaks of a session and does not say which (RFC 2866 5.5)."""
    happened_at = find_moment(request, now)
    if request.status in _RESTARTS:
        return RestartReport(gateway, request.authenticator, happened_at, _RESTARTS[request.status])
    acct_session_id = _read_text(request, radius.ACCT_SESSION_ID)
    if not acct_session_id:
        return None
    bytes_in, bytes_out = request.octets
    cause = request.find_integer(radius.ACCT_TERMINATE_CAUSE)
    return AccountingReport(
        gateway=gateway,
        acct_session_id=acct_session_id,
        happened_at=happened_at,
        session_ids=tuple(
            value.decode() for value in request.classes[:_CLASSES_AT_MOST] if _SESSION_ID.fullmatch(value)
        ),
        unique_id=request.find_integer(radius.NAS_PORT),
        user_name=_read_text(request, radius.USER_NAME),
        remote_address=read_client_address(request),
        virtual_addresses=" ".join(request.addresses),
        session_seconds=min(request.find_integer(radius.ACCT_SESSION_TIME) or 0, _SESSION_AT_MOST_SECONDS),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        begins=request.status is Status.START,
        end_cause=explain_terminate_cause(cause) if request.status is Status.STOP else None,
    )


def find_moment(request: AccountingRequest, now: datetime) -> datetime:
    """When it happened: the gateway's clock if that can be (RFC 2869 5.3), else now less its delay (RFC 2866 5.2)."""
    stamp = request.find_integer(radius.EVENT_TIMESTAMP)
    if stamp is not None:
        told = datetime.fromtimestamp(stamp, UTC)
        if now - _LATE_AT_MOST <= told <= now:
            return told
    delay = timedelta(seconds=request.find_integer(radius.ACCT_DELAY_TIME) or 0)
    return now - min(delay, _LATE_AT_MOST)


def _read_text(request: AccountingRequest, attribute: int) -> str:
    # PostgreSQL takes no NUL.
    return request.find_text(attribute).replace("\0", "\ufffd")[:_TEXT_AT_MOST]


def _store(tx: Transaction, report: AccountingReport | RestartReport) -> None:
    if isinstance(report, AccountingReport):
        account(tx, report)
        return
    ended = restart(tx, report)
    log.warning("accounting", gateway=report.gateway.name, said=report.reason, sessions=ended)
