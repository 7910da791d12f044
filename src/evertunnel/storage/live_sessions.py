"""Live sessions as they are decided again: nothing but what bears on that, for all of a gateway's at once."""

from collections.abc import Sequence, Set
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from evertunnel.storage import sessions, tables
from evertunnel.storage.driver_rows import read_rows
from evertunnel.storage.tables import AnyRow, decode_time

_sessions = tables.sessions.c


class LiveSession(NamedTuple):
    """A session that did not end. `created` and `bound` are as the driver has them; the rest as in its row."""

    id: str
    kind: str
    state: str
    gateway_id: str
    user_id: str | None
    device_id: str | None
    certificate_id: str | None
    remote_address: str
    method: str | None
    created: int
    bound: int | None

    @property
    def created_at(self) -> datetime:
        """When it began."""
        return decode_time(self.created)

    @property
    def crypto_bound(self) -> bool | None:
        """Whether PEAP bound its inner method to its tunnel; None where that is not known."""
        return None if self.bound is None else bool(self.bound)


# What is decided again: many as they are here, a few as their whole rows.
LiveRow = LiveSession | AnyRow

_NAMES = {"created": "created_at", "bound": "crypto_bound"}
_OF_GATEWAY = select(*(_sessions[_NAMES.get(name, name)] for name in LiveSession._fields)).where(
    _sessions.gateway_id == bindparam("gateway_id", ""), _sessions.state.in_(sessions.LIVE)
)


def list_of_gateway(connection: Connection, gateway_id: str) -> list[LiveSession]:
    """All of a gateway's."""
    return list(map(LiveSession._make, read_rows(connection, _OF_GATEWAY, gateway_id=gateway_id)))


def list_of_owners(connection: Connection, gateway_id: str, owner_ids: Set[str]) -> Sequence[LiveRow]:
    """Those of them that belong to any of some users, devices or certificates, or have one of these ids themselves."""
    if len(owner_ids) <= sessions.NAMED_AT_MOST:
        return sessions.list_live_of_owners(connection, gateway_id, owner_ids)
    return [
        row
        for row in list_of_gateway(connection, gateway_id)
        if not owner_ids.isdisjoint((row.user_id, row.device_id, row.certificate_id, row.id))
    ]
