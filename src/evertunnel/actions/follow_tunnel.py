"""A gateway reports a tunnel: up, down or with another number. Up is where a device tunnel is decided and recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from evertunnel.access.facts import Facts
from evertunnel.access.recorded_facts import encode_facts
from evertunnel.actions.decide import Decider
from evertunnel.model import (
    Attempt,
    AttemptKind,
    Certificate,
    Decision,
    Gateway,
    Outcome,
    Reason,
    Session,
    SessionState,
    Step,
    TunnelKind,
)
from evertunnel.storage import accounting, sessions
from evertunnel.storage.store import Transaction, new_id
from evertunnel.storage.tables import AnyRow

_STEPS_AT_MOST = 60
_LOOKED_FOR_ALONE = 4
# Nobody of us ended it; the gateway may know more.
CLOSED = "the tunnel was closed"


@dataclass(frozen=True, slots=True)
class TunnelReport:
    """What a gateway says of a tunnel. `certificate_id` is of a device certificate that was joined without doubt.

    `story` is what it said while the tunnel came up, and `reported_ms` when it said that it is up or is not to be.
    """

    unique_id: int
    spis: str
    remote_address: str
    claimed_identity: str
    virtual_addresses: str
    certificate_id: str | None = None
    story: tuple[Step, ...] = ()
    reported_ms: float = 0.0


def is_recorded(tx: Transaction, gateway: Gateway, report: TunnelReport) -> bool:
    """Whether the tunnel has its session already: a look at the gateway may come before its report."""
    return any(row.spis == report.spis for row in _list_sessions(tx.connection, gateway, report))


def open_device_session(tx: Transaction, decider: Decider, gateway: Gateway, report: TunnelReport) -> Decision:
    """Decide a device tunnel that came up and record it; a grant makes a session that is up. A refusal must be cut."""
    certificate = decider.find_certificate_by_id(report.certificate_id)
    facts = decider.gather_facts(
        at=tx.now,
        tunnel=TunnelKind.DEVICE,
        gateway=gateway,
        certificate=certificate,
        client_address=report.remote_address,
    )
    if certificate is None:
        decision = Decision(
            Outcome.REFUSED,
            Reason.TUNNEL_NOT_RECOGNISED,
            f"the identity {report.claimed_identity!r} is not the subject of a device certificate of ours",
        )
    else:
        decision = decider.decide_tunnel(facts)
    attempt = build_device_attempt(tx, gateway, report, decision, certificate, facts)
    if decision.granted:
        session = _build_session(tx, attempt, gateway, report)
        sessions.insert_sessions(tx, [session])
        if lifetime := decision.settings.get("session_timeout_seconds"):
            # A user tunnel's goes out with the Accept; nobody asks us for a device's.
            sessions.update_session(tx, session.id, ends_at=tx.now + timedelta(seconds=lifetime))
        accounting.join_session(tx, session)
    tx.record_attempt(attempt)
    return decision


def build_device_attempt(
    tx: Transaction,
    gateway: Gateway,
    report: TunnelReport,
    decision: Decision,
    certificate: Certificate | None,
    facts: Facts | None = None,
) -> Attempt:
    """The record of a device tunnel, from the gateway's story of it. We decide when the story is over."""
    story = [Step(step.at_ms, step.text[:300]) for step in report.story[-_STEPS_AT_MOST:]]
    decided_ms = max(report.reported_ms, *(step.at_ms for step in story), 0.0)
    return Attempt(
        id=new_id(),
        at=tx.now,
        kind=AttemptKind.DEVICE_TUNNEL,
        outcome=decision.outcome,
        reason=decision.reason,
        detail=decision.detail,
        gateway_id=gateway.id,
        device_id=certificate.device_id if certificate else None,
        certificate_id=certificate.id if certificate else None,
        session_id=new_id() if decision.granted else None,
        claimed_identity=report.claimed_identity,
        client_address=report.remote_address,
        duration_ms=decided_ms,
        steps=(*story, Step(decided_ms, decision.detail[:300])),
        results=decision.results,
        facts=encode_facts(facts) if facts is not None else None,
    )


def _build_session(tx: Transaction, attempt: Attempt, gateway: Gateway, report: TunnelReport) -> Session:
    assert attempt.session_id is not None
    return Session(
        id=attempt.session_id,
        kind=TunnelKind.DEVICE,
        state=SessionState.UP,
        gateway_id=gateway.id,
        unique_id=report.unique_id,
        spis=report.spis,
        created_at=tx.now,
        device_id=attempt.device_id,
        certificate_id=attempt.certificate_id,
        attempt_id=attempt.id,
        remote_address=report.remote_address,
        virtual_addresses=report.virtual_addresses,
    )


def join_user_session(tx: Transaction, gateway: Gateway, report: TunnelReport) -> str | None:
    """A user tunnel came up: the pending session of its number is up. Returns its id; None: the tunnel must be cut."""
    for row in _list_sessions(tx.connection, gateway, report):
        if row.kind != TunnelKind.USER.value or row.unique_id != report.unique_id:
            continue
        if row.spis == report.spis:
            return None if row.state == SessionState.ENDING.value else str(row.id)
        if row.state == SessionState.PENDING.value:
            sessions.update_session(
                tx,
                row.id,
                state=SessionState.UP.value,
                up_at=tx.now,
                spis=report.spis,
                remote_address=report.remote_address,
                virtual_addresses=report.virtual_addresses,
            )
            return str(row.id)
        # The number was given anew: that tunnel is another one now.
    return None


def record_unrecognised(tx: Transaction, gateway: Gateway, report: TunnelReport, kind: TunnelKind) -> None:
    """A tunnel that belongs to no session of ours is up, and is about to be cut."""
    attempt_kind = AttemptKind.USER_TUNNEL if kind is TunnelKind.USER else AttemptKind.DEVICE_TUNNEL
    tx.record_attempt(
        Attempt(
            id=new_id(),
            at=tx.now,
            kind=attempt_kind,
            outcome=Outcome.REFUSED,
            reason=Reason.TUNNEL_NOT_RECOGNISED,
            detail="the gateway has a tunnel that we never granted; it was ended",
            gateway_id=gateway.id,
            claimed_identity=report.claimed_identity,
            client_address=report.remote_address,
        )
    )


def record_device_refusal(
    tx: Transaction, decider: Decider, gateway: Gateway, report: TunnelReport, reason: Reason, detail: str
) -> None:
    """A device tunnel that did not come up. Where the gate said no, our own decision has the better reason."""
    certificate = decider.find_certificate_by_id(report.certificate_id)
    decision = Decision(Outcome.REFUSED, reason, detail)
    if reason is Reason.DEVICE_REFUSED_AT_GATE and certificate is not None:
        ours = decider.decide_tunnel(
            decider.gather_facts(
                at=tx.now,
                tunnel=TunnelKind.DEVICE,
                gateway=gateway,
                certificate=certificate,
                client_address=report.remote_address,
            )
        )
        if not ours.granted:
            decision = ours
    tx.record_attempt(build_device_attempt(tx, gateway, report, decision, certificate))


def list_closed(connection: Connection, gateway: Gateway, reports: Sequence[TunnelReport]) -> list[tuple[AnyRow, str]]:
    """Sessions whose tunnels a gateway reports to be gone, with the indexes reported.

    For many the gateway's sessions are read once: each alone would be looked for among all of them.
    """
    if len(reports) > _LOOKED_FOR_ALONE:
        rows = sessions.list_live_of_gateway(connection, gateway.id)
    else:
        rows = [row for report in reports for row in _list_sessions(connection, gateway, report)]
    by_spis = {report.spis: report.spis for report in reports}
    by_number = {report.unique_id: report.spis for report in reports}
    found = {}
    for row in rows:
        spis = by_spis.get(row.spis) if row.spis else by_number.get(row.unique_id)
        if spis is not None:
            found[row.id] = row, spis
    return list(found.values())


def close_sessions(tx: Transaction, gateway: Gateway, reports: Sequence[TunnelReport]) -> dict[str, str]:
    """Tunnels are gone. Returns the ids of their sessions by the tunnels' indexes; of one that we do not know none."""
    closed = list_closed(tx.connection, gateway, reports)
    never = "the tunnel never came up"
    sessions.end_sessions(
        tx, {row.id: never if row.state == SessionState.PENDING.value else CLOSED for row, _spis in closed}
    )
    return {spis: row.id for row, spis in closed}


def follow_rekey(tx: Transaction, gateway: Gateway, old: TunnelReport, new: TunnelReport) -> None:
    """A rekey gave a tunnel another number and other indexes."""
    for row in _list_sessions(tx.connection, gateway, old):
        if row.spis == old.spis:
            sessions.update_session(tx, row.id, unique_id=new.unique_id, spis=new.spis)


def _list_sessions(connection: Connection, gateway: Gateway, report: TunnelReport) -> list[AnyRow]:
    return sessions.list_live_of_tunnel(connection, gateway.id, spis=report.spis, unique_id=report.unique_id)
