"""Where the live device tunnels of devices come from, and which of that changed a moment ago.

All of it only while a policy asks for it: whoever follows the database would otherwise follow every device tunnel.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Text, cast, delete, exists, or_, select

from evertunnel.model import SessionState, TunnelKind
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import encode_time

# What `changes` calls it. Nobody's sessions are decided again for it; new logins see it.
OWN_TUNNEL = "own tunnel"

_sessions, _changes = tables.sessions, tables.own_tunnel_changes
_AT_ONCE = 500
# What a policy that asks for it has in its document: of conditional access, of network policies.
_WORDS = ((tables.access_policies, '%"requireDeviceTunnel"%'), (tables.network_policies, '%"device_tunnel"%'))


@dataclass(frozen=True, slots=True)
class OwnTunnels:
    """Of one device: where its tunnels come from that are up, and since when something is changing."""

    addresses: tuple[str, ...] = ()
    changed_at: datetime | None = None


def is_demanded(connection: Connection) -> bool:
    """Whether some policy speaks of it, on or off."""
    spoken_of = (exists().where(cast(table.c.document, Text).like(words)) for table, words in _WORDS)
    return bool(connection.execute(select(or_(*spoken_of))).scalar_one())


def load_own_tunnels(connection: Connection, device_ids: Collection[str] | None = None) -> dict[str, OwnTunnels]:
    """By device, of all or of those named. A tunnel that is being ended is none."""
    up = select(_sessions.c.device_id, _sessions.c.remote_address).where(
        _sessions.c.kind == TunnelKind.DEVICE.value, _sessions.c.state == SessionState.UP.value
    )
    changed = select(_changes)
    if device_ids is not None:
        up = up.where(_sessions.c.device_id.in_(device_ids))
        changed = changed.where(_changes.c.device_id.in_(device_ids))
    addresses: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(up.order_by(_sessions.c.created_at, _sessions.c.id)):
        addresses[row.device_id].append(row.remote_address)
    moments = {row.device_id: row.changed_at for row in connection.execute(changed)}
    return {
        device_id: OwnTunnels(tuple(addresses.get(device_id, ())), moments.get(device_id))
        for device_id in addresses.keys() | moments.keys()
    }


def note_begins(tx: Transaction, device_ids: Iterable[str]) -> None:
    """Device tunnels came up, or may stay after all."""
    found = sorted(set(device_ids))
    if found and is_demanded(tx.connection):
        for device_id in found:
            tx.raise_epoch(OWN_TUNNEL, device_id)


def note_ends(tx: Transaction, session_ids: Sequence[str]) -> None:
    """Sessions ended or are being ended: those that are device tunnels are missed by the user tunnels beside them."""
    if session_ids and is_demanded(tx.connection):
        _note_changes(tx, _list_devices(tx, session_ids, device_tunnels_only=True))


def note_moves(tx: Transaction, session_ids: Sequence[str]) -> frozenset[str]:
    """Sessions of either kind go on from other addresses; returns the ids of their devices."""
    if not session_ids or not is_demanded(tx.connection):
        return frozenset()
    devices = _list_devices(tx, session_ids, device_tunnels_only=False)
    _note_changes(tx, devices)
    return devices


def list_over(connection: Connection, until: datetime) -> list[str]:
    """Devices where something began to change at a moment or before."""
    return list(connection.execute(select(_changes.c.device_id).where(_changes.c.changed_at <= until)).scalars())


def forget_changes(tx: Transaction, device_ids: Collection[str]) -> None:
    """Their moment is over."""
    tx.connection.execute(delete(_changes).where(_changes.c.device_id.in_(device_ids)))


def _list_devices(tx: Transaction, session_ids: Sequence[str], *, device_tunnels_only: bool) -> frozenset[str]:
    found: set[str] = set()
    for start in range(0, len(session_ids), _AT_ONCE):
        statement = select(_sessions.c.device_id).where(
            _sessions.c.id.in_(session_ids[start : start + _AT_ONCE]), _sessions.c.device_id.is_not(None)
        )
        if device_tunnels_only:
            statement = statement.where(_sessions.c.kind == TunnelKind.DEVICE.value)
        found.update(tx.connection.execute(statement).scalars())
    return frozenset(found)


def _note_changes(tx: Transaction, device_ids: frozenset[str]) -> None:
    """The first moment stays: who moves without end is decided all the same."""
    ids = sorted(device_ids)
    known: set[str] = set()
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        known.update(
            tx.connection.execute(select(_changes.c.device_id).where(_changes.c.device_id.in_(part))).scalars()
        )
    now = encode_time(tx.now)
    tx.insert(_changes, [{"device_id": each, "changed_at": now} for each in ids if each not in known])
    for device_id in ids:
        tx.raise_epoch(OWN_TUNNEL, device_id)
