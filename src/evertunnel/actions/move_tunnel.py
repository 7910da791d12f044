"""A client goes on from another address: its session is decided again from there."""

from evertunnel.actions.decide import Decider
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.follow_tunnel import TunnelReport
from evertunnel.model import Gateway, SessionState
from evertunnel.storage import sessions
from evertunnel.storage.store import Transaction


def move_tunnel(tx: Transaction, decider: Decider, gateway: Gateway, report: TunnelReport) -> list[str]:
    """Store where a tunnel comes from now; returns the ids of sessions that must end there, their cuts queued.

    The decider must have been refreshed in this very transaction. A session that is not up yet is left alone: its
    tunnel's address is stored when it comes up.
    """
    moved, lately = [], set[str]()
    for row in sessions.list_live_of_tunnel(tx.connection, gateway.id, spis=report.spis, unique_id=report.unique_id):
        up = row.spis == report.spis and row.state != SessionState.PENDING.value
        if up and row.remote_address != report.remote_address:
            lately |= sessions.move_session(tx, row.id, report.remote_address)
            moved.append(row.id)
    found = (sessions.find_session(tx.connection, session_id) for session_id in moved)
    return end_unentitled_sessions(tx, decider, [row for row in found if row is not None], lately=lately)
