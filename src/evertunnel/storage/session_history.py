"""Tunnels that were up in a time."""

from datetime import datetime

from sqlalchemy import Connection, select

from evertunnel.storage import tables
from evertunnel.storage.tables import AnyRow

_sessions = tables.sessions


def list_tunnels(connection: Connection, *, since: datetime, until: datetime) -> list[AnyRow]:
    """When they were up, what they carried, and whose they were. What never came up is not among them."""
    return list(
        connection.execute(
            select(
                _sessions.c.up_at,
                _sessions.c.ended_at,
                _sessions.c.bytes_in,
                _sessions.c.bytes_out,
                tables.users.c.name.label("user_name"),
                tables.devices.c.name.label("device_name"),
                tables.gateways.c.name.label("gateway_name"),
            )
            .outerjoin(tables.users, tables.users.c.id == _sessions.c.user_id)
            .outerjoin(tables.devices, tables.devices.c.id == _sessions.c.device_id)
            .outerjoin(tables.gateways, tables.gateways.c.id == _sessions.c.gateway_id)
            .where(_sessions.c.up_at < until, _sessions.c.ended_at.is_(None) | (_sessions.c.ended_at > since))
        )
    )
