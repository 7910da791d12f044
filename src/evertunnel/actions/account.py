"""A gateway says what it counted: record it, join it to its session, and end what it says is over.

Nothing here grants anything. A gateway speaks of its own sessions only, and what it says is over stays on the list of
what must go until a look at the gateway shows that it is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from evertunnel.access.conditional.sign_in import read_address
from evertunnel.model import Gateway, SessionState, SubjectKind
from evertunnel.storage import accounting, sessions
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

# What the databases keep in a column of octets.
_OCTETS_AT_MOST = 2**63 - 1
# A tunnel's end comes over the control socket too, perhaps first.
_JUST_ENDED = timedelta(minutes=5)
# Why a session ended that nobody spoke of any more. Who speaks of it again is counted again.
SILENT = "the gateway neither counted nor listed it any more"
NEVER_COUNTED = "its gateway never said anything of it"
# A gateway that is not ours may be several servers, and only one of them restarted: who counts on was not on that one.
RESTARTED, SHUT_DOWN = "the gateway restarted", "the gateway was shut down"
_RESTARTS = frozenset({RESTARTED, SHUT_DOWN})


@dataclass(frozen=True, slots=True)
class AccountingReport:
    """What a gateway said of one of its sessions. `end_cause` is set when it is over.

    `happened_at` is when it was so; `session_ids` are those we gave out and it sent back.
    """

    gateway: Gateway
    acct_session_id: str
    happened_at: datetime
    session_ids: tuple[str, ...] = ()
    unique_id: int | None = None
    user_name: str = ""
    remote_address: str = ""
    virtual_addresses: str = ""
    session_seconds: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    begins: bool = False
    end_cause: str | None = None


@dataclass(frozen=True, slots=True)
class RestartReport:
    """A gateway began or is about to end: whatever it had is over. `authenticator` tells a replay."""

    gateway: Gateway
    authenticator: bytes
    happened_at: datetime
    reason: str


def account(tx: Transaction, report: AccountingReport) -> None:
    """Record one report. Said twice, late or in any order it comes to the same."""
    record = accounting.find_record(tx.connection, report.gateway.id, report.acct_session_id)
    session = _find_session(tx, report, record)
    if record is not None and _is_another(record, report, session):
        record = _find_own_record(tx, record, session)
    octets = min(report.bytes_in, _OCTETS_AT_MOST), min(report.bytes_out, _OCTETS_AT_MOST)
    if record is None:
        _begin_record(tx, report, session, octets)
    elif record.ended_at is None or record.end_cause == SILENT or _outlived(report, record.end_cause, record.ended_at):
        _continue_record(tx, report, record, session, octets)
    else:
        # It is over: a Start or an Interim-Update that comes now was sent before, or lies.
        return
    if session is None:
        return
    larger = {"bytes_in": max(session.bytes_in, octets[0]), "bytes_out": max(session.bytes_out, octets[1])}
    if report.gateway.foreign and report.end_cause is None and _is_there(report, session, record):
        # Nobody else says of a gateway that is not ours that the tunnel is up. Of one we took to be over a denial would
        # ask nobody to end it.
        came_up = {
            "state": SessionState.UP.value,
            "up_at": session.up_at or tx.now,
            "ended_at": None,
            "end_reason": "",
            "virtual_addresses": report.virtual_addresses or session.virtual_addresses,
        }
        sessions.update_session(tx, session.id, **larger, **came_up)
        if session.state == SessionState.ENDED.value:
            _decide_again(tx, session)
    else:
        sessions.update_session(tx, session.id, **larger)
    if report.end_cause is not None:
        if session.state != SessionState.ENDED.value:
            end_or_mark(tx, [session], report.end_cause)
    elif report.gateway.foreign and _is_elsewhere(report.remote_address, session.remote_address):
        # A gateway with our strongSwan tells it by an event, and is not asked twice.
        sessions.move_session(tx, session.id, report.remote_address)
        _decide_again(tx, session)


def restart(tx: Transaction, report: RestartReport) -> int:
    """Accounting-On or -Off: returns how many sessions it ended. A replay ends none."""
    if not accounting.remember_restart(tx, report.gateway.id, report.authenticator, report.reason):
        return 0
    over = [
        row
        for row in sessions.list_live_of_gateway(tx.connection, report.gateway.id)
        if row.created_at < report.happened_at and row.state != SessionState.ENDING.value
    ]
    end_or_mark(tx, over, report.reason)
    accounting.end_records(tx, report.gateway.id, before=report.happened_at, cause=report.reason)
    return len(over)


def end_or_mark(tx: Transaction, rows: Sequence[AnyRow], reason: str) -> None:
    """A session without a tunnel ends; one whose tunnel was seen ends when the gateway no longer lists that.

    So a gateway that lies, or one that speaks with its secret, takes no tunnel off the list of what a denial cuts.
    """
    sessions.mark_ending(tx, [row.id for row in rows if row.spis and not row.end_reason], reason)
    for row in rows:
        if not row.spis:
            sessions.end_session(tx, row.id, reason)


def _find_session(tx: Transaction, report: AccountingReport, record: AnyRow | None) -> AnyRow | None:
    """By the id we gave out, by what was joined before, or by number and address of the tunnel."""
    gateway_id = report.gateway.id
    session = accounting.find_session(tx.connection, gateway_id, report.session_ids)
    if session is None and not report.session_ids and record is not None and record.session_id is not None:
        session = accounting.find_session(tx.connection, gateway_id, [record.session_id])
    if session is None and not report.session_ids and report.unique_id is not None and report.virtual_addresses:
        session = accounting.find_session_of_tunnel(
            tx.connection,
            gateway_id,
            unique_id=report.unique_id,
            virtual_addresses=report.virtual_addresses,
            ended_after=tx.now - _JUST_ENDED,
        )
    return session


def _is_another(record: AnyRow, report: AccountingReport, session: AnyRow | None) -> bool:
    """Whether the gateway gave the same id to another session."""
    if session is not None and record.session_id is not None:
        return bool(session.id != record.session_id)
    return record.ended_at is not None and report.begins and report.happened_at > record.ended_at


def _outlived(report: AccountingReport, end_cause: str, ended_at: datetime) -> bool:
    """Whether it goes on after a restart that was not that of the server it is on."""
    return report.gateway.foreign and end_cause in _RESTARTS and report.happened_at > ended_at


def _is_there(report: AccountingReport, session: AnyRow, record: AnyRow | None) -> bool:
    """Whether a session is to be up that waits for it, or that nobody said the end of.

    One that is over must be meant by its id, or by a record that was taken to be over with it: its number and its
    addresses may be given to somebody else by now.
    """
    if session.state != SessionState.ENDED.value:
        return bool(session.state == SessionState.PENDING.value)
    if not report.session_ids and (record is None or record.ended_at is None):
        return False
    return session.end_reason not in _RESTARTS or _outlived(report, session.end_reason, session.ended_at)


def _is_elsewhere(said: str, known: str) -> bool:
    """Whether a client goes on from another address. What is none, as the address of a network card, says nothing."""
    here, before = read_address(said), read_address(known)
    return here is not None and before is not None and here != before


def _decide_again(tx: Transaction, session: AnyRow) -> None:
    """Nobody here decides: whoever looks after the gateway is told that something about its owner changed."""
    if session.user_id is not None:
        tx.raise_epoch(SubjectKind.USER.value, session.user_id)


def _find_own_record(tx: Transaction, other: AnyRow, session: AnyRow | None) -> AnyRow | None:
    """The record under the id of `other`: servers behind one gateway count from one, each for itself."""
    if session is None or other.session_id is None:
        return None
    return accounting.find_record_of_session(tx.connection, other, session.id)


def _begin_record(tx: Transaction, report: AccountingReport, session: AnyRow | None, octets: tuple[int, int]) -> None:
    began_at = report.happened_at - timedelta(seconds=report.session_seconds)
    accounting.insert_record(
        tx,
        gateway_id=report.gateway.id,
        acct_session_id=report.acct_session_id,
        session_id=session.id if session is not None else None,
        user_name=report.user_name,
        remote_address=report.remote_address,
        virtual_addresses=report.virtual_addresses,
        unique_id=report.unique_id,
        began_at=began_at,
        updated_at=tx.now,
        ended_at=report.happened_at if report.end_cause is not None else None,
        end_cause=report.end_cause or "",
        bytes_in=octets[0],
        bytes_out=octets[1],
    )


def _continue_record(
    tx: Transaction, report: AccountingReport, record: AnyRow, session: AnyRow | None, octets: tuple[int, int]
) -> None:
    accounting.update_record(
        tx,
        record.id,
        session_id=session.id if session is not None else record.session_id,
        updated_at=tx.now,
        # A rekey gives another number; the id stays.
        unique_id=report.unique_id if report.unique_id is not None else record.unique_id,
        virtual_addresses=report.virtual_addresses or record.virtual_addresses,
        began_at=min(record.began_at, report.happened_at) if report.begins else record.began_at,
        ended_at=report.happened_at if report.end_cause is not None else None,
        end_cause=report.end_cause or "",
        bytes_in=max(record.bytes_in, octets[0]),
        bytes_out=max(record.bytes_out, octets[1]),
    )
