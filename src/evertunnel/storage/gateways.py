"""Gateways."""

from collections.abc import Collection, Mapping, Set

from sqlalchemy import Connection, case, select, update

from evertunnel.errors import NotFoundError
from evertunnel.model import Gateway, GatewayState
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow, encode_time

_gateways = tables.gateways
RADSEC = "radsec:"


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


def read_gateway(row: AnyRow) -> Gateway:
    """The noun."""
    address = "" if row.radius_address == name_radsec(row.id) else row.radius_address
    return Gateway(row.id, row.name, address, row.enabled, row.foreign, row.radsec)


def name_radsec(gateway_id: str) -> str:
    """What stands for the address of a gateway that asks over TLS: no packet of UDP comes from there."""
    return f"{RADSEC}{gateway_id}"


def set_state(tx: Transaction, gateway_id: str, state: GatewayState, error: str = "") -> None:
    """Whether it answers, and if not, why. The time is of the first moment of the same state."""
    since = case((_gateways.c.state == state.value, _gateways.c.state_since), else_=encode_time(tx.now))
    tx.connection.execute(
        update(_gateways)
        .where(_gateways.c.id == gateway_id)
        .values(state=state.value, state_since=since, state_error=error[:500])
    )


def find_state(connection: Connection, gateway_id: str) -> GatewayState | None:
    """Whether it answered when it was last tried."""
    state = connection.execute(select(_gateways.c.state).where(_gateways.c.id == gateway_id)).scalar()
    return None if state is None else GatewayState(state)


def note_seen(tx: Transaction, gateway_ids: Collection[str]) -> None:
    """Their agents are connected to somebody now."""
    tx.connection.execute(update(_gateways).where(_gateways.c.id.in_(gateway_ids)).values(seen_at=tx.now))


def note_secrets_used(tx: Transaction, used: Mapping[str, Set[int]]) -> None:
    """Which of their two secrets gateways made packets with: 0 for the new one, 1 for the one before."""
    for gateway_id, positions in used.items():
        columns = {("secret_used_at", "previous_secret_used_at")[position]: tx.now for position in positions}
        tx.connection.execute(update(_gateways).where(_gateways.c.id == gateway_id).values(**columns))


def radius_secret_context(gateway_id: str) -> str:
    """What the sealed RADIUS secret of a gateway is bound to, so that it opens nowhere else."""
    return f"gateways.radius_secret_sealed.{gateway_id}"


def disconnect_secret_context(gateway_id: str) -> str:
    """What the sealed secret of its Disconnect-Requests is bound to."""
    return f"gateways.disconnect_secret_sealed.{gateway_id}"


def gate_path_context(gateway_id: str) -> str:
    """What the sealed gate path of a gateway is bound to."""
    return f"gateways.gate_path_sealed.{gateway_id}"
