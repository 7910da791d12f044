"""Add a gateway: its RADIUS secret and gate path are made here, kept sealed, and given to its own process only."""

import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_network

from sqlalchemy import insert

from evertunnel.actions.radius_secrets import Seal, make_secret
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.pki.names import verify_dns_name
from evertunnel.storage import gateways, tables
from evertunnel.storage.gateways import gate_path_context, radius_secret_context
from evertunnel.storage.snapshot import GATEWAY
from evertunnel.storage.store import Store, Transaction, new_id

# strongSwan as a client begins anew 24 minutes before the end: of a life not longer than that it makes a loop.
# Prefix lengths by IP version.
_WIDEST = {4: 8, 6: 16}
_SHORTEST_LIFETIME, _LONGEST_LIFETIME = 3600, 720 * 3600


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What a gateway gives to clients. Networks in CIDR; pools per tunnel; `encap` forces UDP encapsulation."""

    device_pool: str
    user_pool: str
    device_networks: list[str]
    user_networks: list[str]
    dns: list[str] = field(default_factory=list)
    local_addresses: list[str] = field(default_factory=list)
    encap: bool = False
    device_lifetime_seconds: int = 8 * 3600


def add_gateway(
    store: Store,
    name: str,
    *,
    public_name: str,
    radius_address: str,
    vici_socket: str,
    settings: GatewaySettings,
    server_address: str = "",
    seal: Seal,
    actor: str,
    now: datetime,
) -> str:
    """Return the new gateway's id. With `server_address`, where it reaches us, it is on another host.

    Raises AlreadyExistsError, InvalidInputError.
    """
    verify_dns_name(name)
    radius_address = verify_gateway(public_name=public_name, radius_address=radius_address, settings=settings)
    if server_address:
        verify_server_address(server_address)
    with store.write(now) as tx:
        if gateways.find_gateway(tx.connection, name) is not None:
            raise AlreadyExistsError(f"there is a gateway {name!r} already")
        verify_radius_address_free(tx, radius_address)
        gateway_id = new_id()
        tx.connection.execute(
            insert(tables.gateways).values(
                id=gateway_id,
                name=name.lower(),
                name_key=name.casefold(),
                public_name=public_name.lower(),
                radius_address=radius_address,
                radius_secret_sealed=seal(make_secret().encode(), radius_secret_context(gateway_id)),
                gate_path_sealed=seal(secrets.token_urlsafe(24).encode(), gate_path_context(gateway_id)),
                vici_socket="" if server_address else vici_socket,
                remote=bool(server_address),
                server_address=server_address,
                settings=asdict(settings),
                enabled=True,
                created_at=now,
            )
        )
        tx.raise_epoch(GATEWAY, gateway_id)
        tx.record(AuditEntry(Audit.GATEWAY_ADD, actor, name, gateway_id, {"public_name": public_name}))
    return gateway_id


def verify_gateway(*, public_name: str, radius_address: str, settings: GatewaySettings) -> str:
    """Raise InvalidInputError for the first value that makes no sense; returns the address as the kernel writes it."""
    verify_dns_name(public_name)
    _verify_addresses("--dns", settings.dns)
    _verify_addresses("--local-address", settings.local_addresses)
    _verify_networks("--device-network", settings.device_networks)
    _verify_networks("--user-network", settings.user_networks)
    _verify_networks("--device-pool", [settings.device_pool])
    _verify_networks("--user-pool", [settings.user_pool])
    if not _SHORTEST_LIFETIME <= settings.device_lifetime_seconds <= _LONGEST_LIFETIME:
        raise InvalidInputError("--device-hours: a device tunnel lasts an hour at least and 720 at most")
    if ip_network(settings.device_pool).overlaps(ip_network(settings.user_pool)):
        raise InvalidInputError("--device-pool and --user-pool overlap: each tunnel needs addresses of its own")
    return verify_radius_address("--radius-address", radius_address)


def verify_radius_address(option: str, address: str) -> str:
    """An address or a network that requests come from, as it is kept. Raises InvalidInputError."""
    try:
        network = ip_network(address)
    except ValueError as error:
        raise InvalidInputError(
            f"{option}: {address!r} is neither an IP address nor a network such as 192.0.2.0/24: {error}"
        ) from None
    if network.prefixlen < _WIDEST[network.version]:
        raise InvalidInputError(f"{option}: {network} is too much of the internet for one secret")
    if "%" in address:
        raise InvalidInputError(f"{option}: {address!r} names an interface, which requests do not")
    # One address is matched by its text.
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def verify_server_address(address: str) -> None:
    """Raise InvalidInputError unless a gateway on another host could reach us there: a name or a number."""
    try:
        loopback = ip_address(address).is_loopback or ip_address(address).is_unspecified
    except ValueError:
        verify_dns_name(address)
        return
    if loopback:
        raise InvalidInputError(f"--server-address: no other host reaches us at {address}")


def verify_radius_address_free(tx: Transaction, address: str, *, except_id: str = "") -> None:
    """Raise AlreadyExistsError when another gateway asks from there: we could not tell the two apart."""
    for other in gateways.list_gateways(tx.connection):
        if other.radius_address == address and other.id != except_id:
            raise AlreadyExistsError(f"gateway {other.name!r} asks from {address} already")


def _verify_addresses(option: str, addresses: list[str]) -> None:
    for address in addresses:
        try:
            ip_address(address)
        except ValueError:
            raise InvalidInputError(f"{option}: {address!r} is not an IP address") from None


def _verify_networks(option: str, networks: list[str]) -> None:
    if not networks:
        raise InvalidInputError(f"{option}: name at least one network, such as 10.20.0.0/16")
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            raise InvalidInputError(f"{option}: {network!r} is not a network such as 10.20.0.0/16: {error}") from None
        if "/" not in network:
            raise InvalidInputError(f"{option}: {network!r} has no prefix length; one address is {ip_network(network)}")
