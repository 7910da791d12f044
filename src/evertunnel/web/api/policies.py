"""Network policies, and the usual set of policies."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from evertunnel.access.network_policies import find_weakness
from evertunnel.actions import change_network_policies as network
from evertunnel.actions.set_up_policies import set_up_policies
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class NewNetworkPolicy(BaseModel):
    """A network policy; `position` counts from 1, null is the end."""

    model_config = ConfigDict(extra="forbid")
    name: str
    document: dict[str, Any]
    position: int | None = None


class Switch(BaseModel):
    """Whether a network policy counts."""

    model_config = ConfigDict(extra="forbid")
    enabled: bool


@router.post("/usual", status_code=204)
def set_up(context: Context, actor: Actor, *, confirmed: bool = False) -> None:
    """The usual set of policies."""

    def change(store: Store) -> None:
        set_up_policies(store, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed)


@router.get("/network")
def list_network(context: Context) -> list[dict[str, Any]]:
    """In order; ids in conditions with their names beside them."""
    with context.store.read() as connection:
        names: dict[str, str] = {}
        for table in (tables.users, tables.groups, tables.devices, tables.gateways):
            names |= {row.id: row.name for row in connection.execute(select(table.c.id, table.c.name))}
        rows = connection.execute(select(tables.network_policies).order_by(tables.network_policies.c.position))
        return [
            {
                "id": row.id,
                "position": row.position,
                "name": row.name,
                "document": row.document,
                "weakness": find_weakness(row.document.get("settings", {})),
                "names": {key: names[key] for key in _list_texts(row.document) if key in names},
            }
            for row in rows
        ]


@router.post("/network", status_code=201)
def add_network(body: NewNetworkPolicy, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, str]:
    """Add a network policy."""

    def change(store: Store) -> str:
        return network.add_network_policy(
            store, body.name, body.document, position=body.position, actor=actor, now=context.clock()
        )

    return {"id": make_change(context, change, confirmed=confirmed), "name": body.name}


@router.patch("/network/{name:path}", status_code=204)
def switch_network(name: str, body: Switch, context: Context, actor: Actor, *, confirmed: bool = False) -> None:
    """Switch a network policy on or off."""

    def change(store: Store) -> None:
        network.switch_network_policy(store, name, enabled=body.enabled, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed)


@router.delete("/network/{name:path}", status_code=204)
def remove_network(name: str, context: Context, actor: Actor, *, confirmed: bool = False) -> None:
    """Remove a network policy."""

    def change(store: Store) -> None:
        network.remove_network_policy(store, name, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed)


def _list_texts(document: Any) -> list[str]:
    if isinstance(document, str):
        return [document]
    if isinstance(document, list):
        return [text for item in document for text in _list_texts(item)]
    if isinstance(document, dict):
        return [text for item in document.values() for text in _list_texts(item)]
    return []
