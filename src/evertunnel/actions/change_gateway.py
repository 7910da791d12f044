"""Change a gateway: what it gives to clients, its public name, whether it takes tunnels, its secrets."""

import re
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import update

from evertunnel.actions.add_foreign_gateway import NOTHING_SHARED, verify_disconnect
from evertunnel.actions.add_gateway import (
    GatewaySettings,
    verify_gateway,
    verify_radius_address,
    verify_radius_address_free,
    verify_server_address,
)
from evertunnel.actions.radius_secrets import Seal, make_secret, take_secret
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import CertificateKind, CertificateStatus, TunnelKind
from evertunnel.pki.names import verify_dns_name
from evertunnel.storage import certificates, gateways, sessions, tables
from evertunnel.storage.gateways import disconnect_secret_context, gate_path_context, radius_secret_context
from evertunnel.storage.snapshot import CERTIFICATE, GATEWAY
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow

_PLAIN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_COLUMNS = ("public_name", "radius_address", "vici_socket", "server_address", "enabled")
_POOLS = {"device_pool": TunnelKind.DEVICE, "user_pool": TunnelKind.USER}


@dataclass(frozen=True, slots=True)
class GatewayChange:
    """What is to become different; None stays as it is."""

    public_name: str | None = None
    radius_address: str | None = None
    vici_socket: str | None = None
    enabled: bool | None = None
    device_pool: str | None = None
    user_pool: str | None = None
    device_networks: list[str] | None = None
    user_networks: list[str] | None = None
    dns: list[str] | None = None
    local_addresses: list[str] | None = None
    encap: bool | None = None
    device_lifetime_seconds: int | None = None
    server_address: str | None = None
    disconnect: str | None = None
    disconnect_secret: str | None = None


def change_gateway(
    store: Store, name: str, change: GatewayChange, *, rotate: bool = False, seal: Seal, actor: str, now: datetime
) -> None:
    """Change what is given; `rotate` makes a new RADIUS secret and a new gate path.

    Tunnels of a gateway that is disabled end. Raises NotFoundError, AlreadyExistsError, InvalidInputError.
    """
    given = {key: value for key, value in asdict(change).items() if value is not None}
    if not given and not rotate:
        raise InvalidInputError("nothing to change was given")
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        columns = {key: given.pop(key) for key in _COLUMNS if key in given}
        columns |= _take_disconnect(row, given, seal)
        settings = GatewaySettings(**{**row.settings, **given})
        if row.foreign:
            address = _verify_foreign(row, columns, given, rotate=rotate)
        else:
            address = verify_gateway(
                public_name=columns.get("public_name", row.public_name),
                radius_address=columns.get("radius_address", row.radius_address),
                settings=settings,
            )
        if "server_address" in columns:
            _verify_remote(row, columns["server_address"])
        if "vici_socket" in columns and row.remote:
            raise InvalidInputError("--vici-socket: that is said to the agent, on the gateway's host")
        if "radius_address" in columns:
            columns["radius_address"] = address
            verify_radius_address_free(tx, address, except_id=row.id)
        if "public_name" in columns:
            columns["public_name"] = columns["public_name"].lower()
        _verify_pools_unused(tx, row, given)
        changed: dict[str, Any] = {key: value for key, value in (columns | given).items() if "sealed" not in key}
        columns["settings"] = asdict(settings)
        if rotate:
            columns |= seal_new_secrets(row.id, seal)
            changed["rotated"] = True
        tx.connection.execute(update(tables.gateways).where(tables.gateways.c.id == row.id).values(**columns))
        if columns.get("public_name", row.public_name) != row.public_name:
            revoke_gateway_certificates(tx, row.id, [CertificateKind.GATEWAY], reason="superseded")
        tx.raise_epoch(GATEWAY, row.id)
        tx.record(AuditEntry(Audit.GATEWAY_CHANGE, actor, row.name, row.id, changed))


def seal_new_secrets(gateway_id: str, seal: Seal) -> dict[str, Any]:
    """Columns with a RADIUS secret and a gate path nobody has seen."""
    return {
        "radius_secret_sealed": seal(make_secret().encode(), radius_secret_context(gateway_id)),
        "previous_secret_sealed": None,
        "secret_rotated_at": None,
        "secret_used_at": None,
        "previous_secret_used_at": None,
        "secret_weakness": "",
        "gate_path_sealed": seal(secrets.token_urlsafe(24).encode(), gate_path_context(gateway_id)),
    }


def revoke_gateway_certificates(
    tx: Transaction, gateway_id: str, kinds: Collection[CertificateKind], *, reason: str
) -> int:
    """Every certificate of these kinds that a gateway or its agent could still show; returns how many."""
    statuses = [CertificateStatus.VALID.value, CertificateStatus.GRANTED.value]
    found = certificates.list_of_subject(tx.connection, "gateway_id", gateway_id, statuses)
    rows = [row for row in found if CertificateKind(row.kind) in kinds]
    certificates.change_status(tx, [row.id for row in rows], CertificateStatus.REVOKED, reason=reason)
    for row in rows:
        tx.raise_epoch(CERTIFICATE, row.id)
    return len(rows)


def _take_disconnect(row: AnyRow, given: dict[str, Any], seal: Seal) -> dict[str, Any]:
    """Columns of where it takes Disconnect-Requests, and under which secret."""
    columns: dict[str, Any] = {}
    if "disconnect" in given:
        columns["disconnect_address"] = verify_disconnect(given.pop("disconnect"))
    if "disconnect_secret" in given:
        secret = take_secret(given.pop("disconnect_secret"))
        if not row.foreign and not _PLAIN.fullmatch(secret.text):
            raise InvalidInputError("--ask-disconnect-secret: strongSwan is told it: letters, digits, - and _ only")
        columns["disconnect_secret_sealed"] = seal(secret.text.encode(), disconnect_secret_context(row.id))
    own = columns.get("disconnect_secret_sealed", row.disconnect_secret_sealed)
    if columns.get("disconnect_address") and own is None and not gateways.read_gateway(row).radius_address:
        raise InvalidInputError(NOTHING_SHARED)
    return columns


def _verify_foreign(row: AnyRow, columns: dict[str, Any], given: dict[str, Any], *, rotate: bool) -> str:
    """The address it asks from. Raises InvalidInputError for what only a strongSwan of ours has."""
    ours = [key for key in (*given, "vici_socket", "server_address") if key in given or key in columns]
    if ours:
        option = ours[0].replace("_", "-")
        raise InvalidInputError(f"--{option}: gateway {row.name} is no strongSwan of ours and is told nothing")
    if rotate:
        raise InvalidInputError(
            f"--rotate: gateway {row.name} would not learn of it: `evertunnel gateway secret rotate {row.name}`"
        )
    if "public_name" in columns:
        verify_dns_name(columns["public_name"])
    if "radius_address" not in columns:
        return str(row.radius_address)
    return verify_radius_address("--radius-address", columns["radius_address"])


def _verify_remote(row: AnyRow, server_address: str) -> None:
    if not row.remote:
        raise InvalidInputError(f"--server-address: gateway {row.name} is on this machine; remove it and add it anew")
    verify_server_address(server_address)


def _verify_pools_unused(tx: Transaction, row: AnyRow, given: dict[str, Any]) -> None:
    """strongSwan replaces no pool while an address of it is in use, and would refuse everything else with it."""
    live = {session.kind for session in sessions.list_live_of_gateway(tx.connection, row.id)}
    for key, kind in _POOLS.items():
        if given.get(key, row.settings[key]) != row.settings[key] and kind.value in live:
            raise InvalidInputError(
                f"--{key.replace('_', '-')}: there are {kind.value} tunnels with addresses of the pool on {row.name}; "
                f"end them with `evertunnel gateway change {row.name} --disable`, then change the pool and enable it"
            )
