"""Gateways."""

from collections.abc import Collection

from sqlalchemy import Connection, case, select, update

from evertunnel.errors import NotFoundError
from evertunnel.model import GatewayState
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow, encode_time

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


def set_state(tx: Transaction, gateway_id: str, state: GatewayState, error: str = "") -> None:
    """Whether it answers, and if not, why. The time is of the first moment of the same state."""
    since = case((_gateways.c.state == state.value, _gateways.c.state_since), else_=encode_time(tx.now))
    tx.connection.execute(
        update(_gateways)
        .where(_gateways.c.id == gateway_id)
        .values(state=state.value, state_since=since, state_error=error[:500])
    )


def note_seen(tx: Transaction, gateway_ids: Collection[str]) -> None:
    """Their agents are connected to somebody now."""
    tx.connection.execute(update(_gateways).where(_gateways.c.id.in_(gateway_ids)).values(seen_at=tx.now))


def radius_secret_context(gateway_id: str) -> str:
    """What the sealed RADIUS secret of a gateway is bound to, so that it opens nowhere else."""
    return f"gateways.radius_secret_sealed.{gateway_id}"


def gate_path_context(gateway_id: str) -> str:
    """What the sealed gate path of a gateway is bound to."""
    return f"gateways.gate_path_sealed.{gateway_id}"
