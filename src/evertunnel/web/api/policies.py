"""Network policies, and the usual set of policies."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from evertunnel.access.network_policies import find_weakness
from evertunnel.actions import change_network_policies as network
from evertunnel.actions.import_network_policies import (
    ListChange,
    export_network_policies,
    import_network_policies,
    plan_network_policies,
)
from evertunnel.actions.set_up_policies import set_up_policies
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change, try_change

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class NewNetworkPolicy(BaseModel):
    """A network policy; `position` counts from 1, null is the end."""

    model_config = ConfigDict(extra="forbid")
    name: str
    document: dict[str, Any]
    position: int | None = None


class NetworkChange(BaseModel):
    """A whole document or changes of it (RFC 7386), a new place, or both; `version` is the one it was made from."""

    model_config = ConfigDict(extra="forbid")
    name: str
    document: dict[str, Any] | None = None
    changes: dict[str, Any] | None = None
    position: int | None = None
    version: int | None = None


class NetworkImport(BaseModel):
    """A file of network policies. With `replace` they become the whole list; `check` imports nothing."""

    model_config = ConfigDict(extra="forbid")
    data: Any
    replace: bool = False
    check: bool = False


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


@router.post("/network/change")
def change_network(body: NetworkChange, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, Any]:
    """Change a network policy, which keeps its id and history."""

    def change(store: Store) -> network.StoredPolicy:
        return network.change_network_policy(
            store,
            body.name,
            document=body.document,
            changes=body.changes,
            position=body.position,
            version=body.version,
            actor=actor,
            now=context.clock(),
        )

    return _describe(make_change(context, change, confirmed=confirmed))


@router.post("/network/import")
def import_network(body: NetworkImport, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, Any]:
    """Import a file of network policies, or say what that would do and how many live sessions it would end."""

    def change(store: Store) -> ListChange:
        return import_network_policies(store, body.data, replace=body.replace, actor=actor, now=context.clock())

    if not body.check:
        return asdict(make_change(context, change, confirmed=confirmed))
    with context.store.read() as connection:
        planned = plan_network_policies(connection, body.data, replace=body.replace)
    return asdict(planned) | asdict(try_change(context, change))


@router.get("/exports/network")
def export_network(context: Context) -> dict[str, Any]:
    """All network policies as a file that can be imported."""
    with context.store.read() as connection:
        return export_network_policies(connection)


@router.get("/network/{name:path}")
def show_network(name: str, context: Context) -> dict[str, Any]:
    """One network policy, with names in its conditions."""
    with context.store.read() as connection:
        return _describe(network.get_network_policy(connection, name))


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


def _describe(policy: network.StoredPolicy) -> dict[str, Any]:
    return {
        "id": policy.id,
        "name": policy.name,
        "position": policy.position,
        "version": policy.version,
        "document": policy.document,
        "weakness": find_weakness(policy.document.get("settings", {})),
    }


def _list_texts(document: Any) -> list[str]:
    if isinstance(document, str):
        return [document]
    if isinstance(document, list):
        return [text for item in document for text in _list_texts(item)]
    if isinstance(document, dict):
        return [text for item in document.values() for text in _list_texts(item)]
    return []
