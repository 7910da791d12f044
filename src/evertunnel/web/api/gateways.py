"""Gateways."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select

from evertunnel.actions.add_gateway import GatewaySettings, add_gateway
from evertunnel.actions.change_gateway import GatewayChange, change_gateway
from evertunnel.actions.make_enrolment_code import make_enrolment_code
from evertunnel.actions.remove_gateway import remove_gateway
from evertunnel.effects import EffectState
from evertunnel.storage import gateways, sessions, tables
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
    rotate: bool = False


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
                "radius_address": row.radius_address,
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
