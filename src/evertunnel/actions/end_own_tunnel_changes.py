"""A moment after a device's own tunnel moved or ended: user tunnels that demand it are decided by what is true now."""

from datetime import datetime

from evertunnel.access.own_tunnel import GRACE
from evertunnel.model import SubjectKind
from evertunnel.storage import own_tunnels
from evertunnel.storage.store import Store

# Fewer than make whoever follows read everything anew.
_AT_ONCE = 400


def end_own_tunnel_changes(store: Store, *, now: datetime) -> int:
    """Returns of how many devices the moment is over. Writes only when there is one."""
    with store.read() as connection:
        device_ids = own_tunnels.list_over(connection, now - GRACE)
    for start in range(0, len(device_ids), _AT_ONCE):
        part = device_ids[start : start + _AT_ONCE]
        with store.write(now) as tx:
            own_tunnels.forget_changes(tx, part)
            for device_id in part:
                tx.raise_epoch(SubjectKind.DEVICE.value, device_id)
    return len(device_ids)
