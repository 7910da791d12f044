"""Gateways."""

from sqlalchemy import Connection, select

from evertunnel.errors import NotFoundError
from evertunnel.storage import tables
from evertunnel.storage.tables import AnyRow

_gateways = tables.gateways


def find_gateway(connection: Connection, name: str) -> AnyRow | None:
    """A gateway by id, else by name (any case)."""
    return connection.execute(
        select(_gateways)
        .where((_gateways.c.name_key == name.casefold()) | (_gateways.c.id == name))
        .order_by((_gateways.c.id == name).desc())
    ).first()


def get_gateway(connection: Connection, name: str) -> AnyRow:
    """The same; raises NotFoundError."""
    row = find_gateway(connection, name)
    if row is None:
        raise NotFoundError(f"there is no gateway {name!r}; `evertunnel gateway list` shows those that exist")
    return row


def list_gateways(connection: Connection) -> list[AnyRow]:
    """All gateways, by name."""
    return list(connection.execute(select(_gateways).order_by(_gateways.c.name_key)))


def radius_secret_context(gateway_id: str) -> str:
    """What the sealed RADIUS secret of a gateway is bound to, so that it opens nowhere else."""
    return f"gateways.radius_secret_sealed.{gateway_id}"


def gate_path_context(gateway_id: str) -> str:
    """What the sealed gate path of a gateway is bound to."""
    return f"gateways.gate_path_sealed.{gateway_id}"
