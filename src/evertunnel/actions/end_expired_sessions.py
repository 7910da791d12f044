"""End sessions whose decision gave them a shorter life than strongSwan would."""

from evertunnel.storage import sessions
from evertunnel.storage.store import Transaction

EXPIRED = "the lifetime of its policy is over"


def end_expired_sessions(tx: Transaction, gateway_id: str) -> list[str]:
    """Mark those of a gateway whose time is over as ending; returns their ids. The look that follows cuts them."""
    over = [row.id for row in sessions.list_ending_by_themselves(tx.connection, gateway_id) if row.ends_at <= tx.now]
    sessions.mark_ending(tx, over, EXPIRED)
    return over
