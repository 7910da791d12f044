"""Add a gateway that only asks us over RADIUS: a VPN server of another make, or a proxy that speaks for several."""

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from ipaddress import ip_address

from sqlalchemy import insert

from evertunnel.actions.add_gateway import GatewaySettings, verify_radius_address, verify_radius_address_free
from evertunnel.actions.radius_secrets import NewSecret, Seal, take_secret
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.pki.names import verify_dns_name
from evertunnel.storage import gateways, tables
from evertunnel.storage.gateways import (
    disconnect_secret_context,
    gate_path_context,
    name_radsec,
    radius_secret_context,
)
from evertunnel.storage.snapshot import GATEWAY
from evertunnel.storage.store import Store, new_id

RADSEC_ALONE = "radsec"
DISCONNECT_PORT = 3799
NOTHING_SHARED = "--disconnect: without a RADIUS secret give it one of its own, --ask-disconnect-secret"


@dataclass(frozen=True, slots=True)
class ForeignGateway:
    """What an administrator says of one. `address` is an address, a network, or `radsec`: it comes over TLS alone.

    `disconnect` is where it takes Disconnect-Requests; their secret is that of RADIUS unless another is given.
    """

    name: str
    address: str
    public_name: str = ""
    disconnect: str = ""
    secret: str | None = None
    disconnect_secret: str | None = None


def add_foreign_gateway(store: Store, wanted: ForeignGateway, *, seal: Seal, actor: str, now: datetime) -> NewSecret:
    """Returns its RADIUS secret, to be given to it. Raises AlreadyExistsError, InvalidInputError."""
    verify_dns_name(wanted.name)
    if wanted.public_name:
        verify_dns_name(wanted.public_name)
    alone = wanted.address == RADSEC_ALONE
    address = "" if alone else verify_radius_address("--address", wanted.address)
    disconnect = verify_disconnect(wanted.disconnect)
    if alone and wanted.secret is not None:
        raise InvalidInputError("--ask-secret: over RadSec alone certificates are the secret")
    if alone and disconnect and wanted.disconnect_secret is None:
        raise InvalidInputError(NOTHING_SHARED)
    secret = take_secret(wanted.secret)
    gateway_id = new_id()
    own = None if wanted.disconnect_secret is None else take_secret(wanted.disconnect_secret)
    with store.write(now) as tx:
        if gateways.find_gateway(tx.connection, wanted.name) is not None:
            raise AlreadyExistsError(f"there is a gateway {wanted.name!r} already")
        if not alone:
            verify_radius_address_free(tx, address)
        tx.connection.execute(
            insert(tables.gateways).values(
                id=gateway_id,
                name=wanted.name.lower(),
                name_key=wanted.name.casefold(),
                public_name=(wanted.public_name or wanted.name).lower(),
                radius_address=name_radsec(gateway_id) if alone else address,
                radius_secret_sealed=seal(secret.text.encode(), radius_secret_context(gateway_id)),
                gate_path_sealed=seal(secrets.token_urlsafe(24).encode(), gate_path_context(gateway_id)),
                vici_socket="",
                settings=asdict(GatewaySettings("", "", [], [])),
                enabled=True,
                created_at=now,
                foreign=True,
                secret_weakness=secret.weakness,
                disconnect_address=disconnect,
                disconnect_secret_sealed=(
                    None if own is None else seal(own.text.encode(), disconnect_secret_context(gateway_id))
                ),
            )
        )
        tx.raise_epoch(GATEWAY, gateway_id)
        details = {"address": wanted.address, "disconnect": disconnect, "weakness": secret.weakness}
        tx.record(AuditEntry(Audit.GATEWAY_ADD, actor, wanted.name, gateway_id, details))
    return NewSecret("") if alone else secret


def verify_disconnect(text: str) -> str:
    """Where a gateway takes Disconnect-Requests, with its port; empty stays empty. Raises InvalidInputError."""
    if not text:
        return ""
    address, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in address and not address.endswith("]")):
        address, port = text, str(DISCONNECT_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInputError(f"--disconnect: {port!r} is not a port, such as {DISCONNECT_PORT}")
    try:
        parsed = ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise InvalidInputError(
            f"--disconnect: {text!r} is not a numeric address with or without a port, such as 192.0.2.7:3799"
        ) from None
    if parsed.is_unspecified or parsed.is_multicast:
        raise InvalidInputError(f"--disconnect: nobody answers from {parsed}")
    return f"[{parsed}]:{port}" if parsed.version == 6 else f"{parsed}:{port}"
