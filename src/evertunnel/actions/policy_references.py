"""Which policies name a user, device or gateway: what is named is not removed, or a condition would name nobody."""

from sqlalchemy import select

from evertunnel.errors import InvalidInputError
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction

_NAMING = ("users", "groups", "user_groups", "device_groups", "devices", "gateways")


def verify_unnamed(tx: Transaction, subject_id: str, name: str) -> None:
    """Raise InvalidInputError for the first policy that names it."""
    network, access = tables.network_policies, tables.access_policies
    for row in tx.connection.execute(select(network.c.name, network.c.document).order_by(network.c.position)):
        conditions = row.document.get("conditions", {})
        if any(subject_id in conditions.get(key, ()) for key in _NAMING):
            raise InvalidInputError(
                f"the network policy {row.name!r} names {name}: change it first "
                "(evertunnel policy network change), or remove it"
            )
    for row in tx.connection.execute(select(access.c.name, access.c.resolved).order_by(access.c.name)):
        if subject_id in row.resolved.values():
            raise InvalidInputError(
                f"the conditional access policy {row.name!r} names {name}: remove it first "
                "(evertunnel policy access remove)"
            )
