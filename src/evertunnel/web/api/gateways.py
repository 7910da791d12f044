"""Gateways."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select

from evertunnel.actions.add_foreign_gateway import ForeignGateway, add_foreign_gateway
from evertunnel.actions.add_gateway import GatewaySettings, add_gateway
from evertunnel.actions.change_gateway import GatewayChange, change_gateway
from evertunnel.actions.change_radsec import end_radsec, issue_radsec, trust_radsec_certificate
from evertunnel.actions.make_enrolment_code import make_enrolment_code, verify_agents_port
from evertunnel.actions.radius_secrets import finish_rotation, rotate_secret
from evertunnel.actions.remove_gateway import remove_gateway
from evertunnel.effects import EffectState
from evertunnel.errors import InvalidInputError
from evertunnel.pki.requests import decode_request
from evertunnel.storage import gateways, sessions, tables
from evertunnel.web.api.certificates import encode_pem
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/gateways", tags=["gateways"])


class NewGateway(BaseModel):
    """A gateway to add: what it is called, where it asks from, and what it gives to clients."""

    model_config = ConfigDict(extra="forbid")
    name: str
    public_name: str
    radius_address: str = "127.0.0.1"
    vici_socket: str = "/run/charon.vici"
    device_pool: str
    user_pool: str
    device_networks: list[str]
    user_networks: list[str]
    dns: list[str] = Field(default_factory=list)
    local_addresses: list[str] = Field(default_factory=list)
    encap: bool = False
    device_lifetime_seconds: int = 8 * 3600
    server_address: str = ""


class NewForeignGateway(BaseModel):
    """A VPN server or proxy that only asks: from an address, a network, or (`radsec`) over TLS alone."""

    model_config = ConfigDict(extra="forbid")
    name: str
    address: str
    public_name: str = ""
    disconnect: str = ""
    secret: str | None = None
    disconnect_secret: str | None = None


class GatewayChanges(BaseModel):
    """What to change; what is left out stays. `rotate` makes a new RADIUS secret and a new gate path."""

    model_config = ConfigDict(extra="forbid")
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
    rotate: bool = False


class GivenSecret(BaseModel):
    """A secret to use; none: one is made."""

    model_config = ConfigDict(extra="forbid")
    secret: str | None = None


class RadSecClient(BaseModel):
    """Either a request (PEM) for a certificate of ours, or the certificate (PEM) that somebody else signed."""

    model_config = ConfigDict(extra="forbid")
    csr: str | None = None
    certificate: str | None = None
    lifetime_seconds: int | None = None


@router.get("")
def list_gateways(context: Context) -> list[dict[str, Any]]:
    """All gateways, with live sessions, effects not yet confirmed, and whether they answer."""
    with context.store.read() as connection:
        pending: dict[str, int] = {
            row.gateway_id: row.number
            for row in connection.execute(
                select(tables.effects.c.gateway_id, func.count().label("number"))
                .where(tables.effects.c.state == EffectState.PENDING.value)
                .group_by(tables.effects.c.gateway_id)
            )
        }
        return [
            {
                "id": row.id,
                "name": row.name,
                "public_name": row.public_name,
                "radius_address": gateways.read_gateway(row).radius_address,
                "foreign": row.foreign,
                "radsec": row.radsec,
                "disconnect_address": row.disconnect_address,
                "secret": {
                    "weakness": row.secret_weakness,
                    "rotated_at": row.secret_rotated_at,
                    "used_at": row.secret_used_at,
                    "previous_used_at": row.previous_secret_used_at,
                },
                "vici_socket": row.vici_socket,
                "remote": row.remote,
                "server_address": row.server_address,
                "enabled": row.enabled,
                "state": row.state,
                "state_since": row.state_since,
                "state_error": row.state_error,
                "settings": row.settings,
                "sessions": len(sessions.list_live_of_gateway(connection, row.id)),
                "pending_effects": pending.get(row.id, 0),
            }
            for row in gateways.list_gateways(connection)
        ]


@router.post("", status_code=201)
def add(body: NewGateway, context: Context, actor: Actor) -> dict[str, str]:
    """Add a gateway. Its process writes the strongswan.conf fragment and loads the connections."""
    if body.server_address:
        verify_agents_port(context.agents_port)
    gateway_id = add_gateway(
        context.store,
        body.name,
        public_name=body.public_name,
        radius_address=body.radius_address,
        vici_socket=body.vici_socket,
        settings=GatewaySettings(
            device_pool=body.device_pool,
            user_pool=body.user_pool,
            device_networks=body.device_networks,
            user_networks=body.user_networks,
            dns=body.dns,
            local_addresses=body.local_addresses,
            encap=body.encap,
            device_lifetime_seconds=body.device_lifetime_seconds,
        ),
        server_address=body.server_address,
        seal=context.seal,
        actor=actor,
        now=context.clock(),
    )
    return {"id": gateway_id, "name": body.name}


@router.post("/foreign", status_code=201)
def add_foreign(body: NewForeignGateway, context: Context, actor: Actor) -> dict[str, str]:
    """Add one that only asks. Its secret is shown here and nowhere else; over RadSec alone it has none."""
    secret = add_foreign_gateway(
        context.store, ForeignGateway(**body.model_dump()), seal=context.seal, actor=actor, now=context.clock()
    )
    return {"name": body.name, "secret": secret.text, "weakness": secret.weakness}


@router.post("/{name}/secret", status_code=201)
def rotate(name: str, body: GivenSecret, context: Context, actor: Actor) -> dict[str, str]:
    """A new RADIUS secret, shown once; the one before counts too until the rotation is finished."""
    new = rotate_secret(context.store, name, given=body.secret, seal=context.seal, actor=actor, now=context.clock())
    return {"secret": new.text, "weakness": new.weakness}


@router.delete("/{name}/secret/previous", status_code=204)
def finish(name: str, context: Context, actor: Actor, *, force: bool = False) -> None:
    """Finish the rotation: the secret before counts no longer."""
    finish_rotation(context.store, name, force=force, actor=actor, now=context.clock())


@router.post("/{name}/radsec", status_code=201)
def allow_radsec(name: str, body: RadSecClient, context: Context, actor: Actor) -> dict[str, Any]:
    """Let it ask over TLS, with a certificate of ours or with one that it has."""
    if (body.csr is None) == (body.certificate is None):
        raise InvalidInputError("give a request or a certificate, and not both")
    if body.certificate is not None:
        trust_radsec_certificate(context.store, name, body.certificate.encode(), actor=actor, now=context.clock())
        return {}
    assert body.csr is not None
    issued = issue_radsec(
        context.store,
        context.signer,
        name,
        decode_request(body.csr.encode()),
        lifetime_seconds=body.lifetime_seconds,
        actor=actor,
        now=context.clock(),
    )
    return {
        "id": issued.id,
        "pem": encode_pem(issued.certificate_der),
        "chain": [encode_pem(der) for der in issued.chain_der],
    }


@router.delete("/{name}/radsec", status_code=204)
def forbid_radsec(name: str, context: Context, actor: Actor) -> None:
    """Take RadSec away; its connections end."""
    end_radsec(context.store, name, actor=actor, now=context.clock())


@router.post("/{name}/code", status_code=201)
def make_code(name: str, context: Context, actor: Actor) -> dict[str, str]:
    """Make an enrolment code for the agent of a gateway on another host. It is shown once."""
    code = make_enrolment_code(context.store, name, port=context.agents_port, actor=actor, now=context.clock())
    return {"code": code}


@router.patch("/{name}", status_code=204)
def change(name: str, body: GatewayChanges, context: Context, actor: Actor) -> None:
    """Change a gateway. Tunnels of one that is disabled end."""
    change_gateway(
        context.store,
        name,
        GatewayChange(**body.model_dump(exclude={"rotate"})),
        rotate=body.rotate,
        seal=context.seal,
        actor=actor,
        now=context.clock(),
    )


@router.delete("/{name}", status_code=204)
def remove(name: str, context: Context, actor: Actor) -> None:
    """Remove a gateway. Its sessions end in the record, and no denial waits for it any more."""
    remove_gateway(context.store, name, actor=actor, now=context.clock())
