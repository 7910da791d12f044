"""What a gateway has against what it should have: tunnels nobody granted, sessions whose tunnel is gone."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from evertunnel.actions.decide import Decider
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions, find_refusal
from evertunnel.actions.follow_tunnel import (
    TunnelReport,
    join_user_session,
    open_device_session,
    record_unrecognised,
)
from evertunnel.model import Gateway, SessionState, TunnelKind
from evertunnel.storage import sessions
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

# An Accept becomes a tunnel within a second or two, or the client went away.
_PENDING_AT_MOST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ListedTunnel:
    """An established tunnel as the gateway lists it. `fault` says in words why it must not stay, if so."""

    kind: TunnelKind
    report: TunnelReport
    bytes_in: int
    bytes_out: int
    fault: str | None = None


def is_settled(
    decider: Decider,
    live: Sequence[AnyRow],
    listed: Sequence[ListedTunnel],
    *,
    now: datetime,
    decided: Set[str] | None = None,
    waiting: Set[str] = frozenset(),
) -> bool:
    """Whether there is nothing to mend: each tunnel has its session, each session its tunnel, and all are granted.

    Only the sessions `decided`, by id, are decided again; None is all. Those `waiting` are ending, and their cut is in
    the queue of effects. Reads only: where ten thousand tunnels are up, nobody's login waits for the look at them.
    """
    # A client that moved is decided anew, where it is now.
    found = {(tunnel.report.spis, tunnel.report.remote_address) for tunnel in listed if tunnel.fault is None}
    if len(found) != len(listed) or found != {(row.spis, row.remote_address) for row in live if row.spis}:
        return False
    staying = [row for row in live if row.state != SessionState.ENDING.value or row.id not in waiting]
    return all(_may_go_on(row, now) for row in staying) and all(
        find_refusal(decider, row, now=now) is None for row in staying if decided is None or row.id in decided
    )


def _may_go_on(row: AnyRow, now: datetime) -> bool:
    if row.state == SessionState.PENDING.value:
        waited: timedelta = now - row.created_at
        return waited <= _PENDING_AT_MOST
    return row.state == SessionState.UP.value and (row.ends_at is None or row.ends_at > now)


def list_differences(tx: Transaction, gateway: Gateway, listed: Sequence[ListedTunnel]) -> frozenset[str]:
    """Indexes of tunnels that no session has, and ids of sessions whose tunnel is not listed.

    A rekey that the gateway did not report yet looks like both: only what a second look shows again is so.
    """
    rows = {row.spis: row.id for row in sessions.list_live_of_gateway(tx.connection, gateway.id) if row.spis}
    tunnels = {tunnel.report.spis for tunnel in listed}
    return frozenset(tunnels - rows.keys()) | {row_id for spis, row_id in rows.items() if spis not in tunnels}


def reconcile_gateway(
    tx: Transaction,
    decider: Decider,
    gateway: Gateway,
    listed: Sequence[ListedTunnel],
    *,
    doubtful: Set[str] = frozenset(),
    decided: Set[str] | None = None,
    waiting: Set[str] = frozenset(),
) -> list[int]:
    """Bring sessions in line with the tunnels listed. Returns the numbers of tunnels that must be cut now.

    `doubtful` are differences to leave alone; `decided` and `waiting` as above, and who moved is decided in any case.
    The decider must have been refreshed in this transaction.
    """
    cut: list[int] = []
    moved: set[str] = set()
    live = sessions.list_live_of_gateway(tx.connection, gateway.id)
    by_spis = {row.spis: row for row in live if row.spis}
    seen: dict[str, ListedTunnel] = {}
    lately: set[str] = set()
    for tunnel in listed:
        row = by_spis.get(tunnel.report.spis)
        if row is not None:
            seen[row.id] = tunnel
            if row.remote_address != tunnel.report.remote_address:
                lately |= sessions.move_session(tx, row.id, tunnel.report.remote_address)
                moved.add(row.id)
            if tunnel.fault is not None:
                sessions.mark_ending(tx, [row.id], tunnel.fault)
            if tunnel.fault is not None or (row.state == SessionState.ENDING.value and row.id not in waiting):
                cut.append(tunnel.report.unique_id)
            continue
        if tunnel.report.spis in doubtful:
            continue
        if tunnel.kind is TunnelKind.DEVICE:
            granted = open_device_session(tx, decider, gateway, tunnel.report).granted
        else:
            joined = join_user_session(tx, gateway, tunnel.report)
            granted = joined is not None
            if joined is not None:
                seen[joined] = tunnel
            else:
                record_unrecognised(tx, gateway, tunnel.report, tunnel.kind)
        if not granted:
            cut.append(tunnel.report.unique_id)
    _close_missing(tx, [row for row in live if row.id not in doubtful], seen)
    sessions.store_traffic(tx, {row_id: (tunnel.bytes_in, tunnel.bytes_out) for row_id, tunnel in seen.items()})
    left = sessions.list_live_of_gateway(tx.connection, gateway.id)
    again = [row for row in left if decided is None or row.id in decided or row.id in moved]
    end_unentitled_sessions(tx, decider, again, lately=lately)
    return cut


def _close_missing(tx: Transaction, live: Sequence[AnyRow], seen: Mapping[str, ListedTunnel]) -> None:
    for row in live:
        if row.id in seen:
            continue
        if row.state == SessionState.PENDING.value:
            if tx.now - row.created_at > _PENDING_AT_MOST:
                sessions.end_session(tx, row.id, "the tunnel never came up")
            continue
        sessions.end_session(tx, row.id, "the gateway no longer has the tunnel")
