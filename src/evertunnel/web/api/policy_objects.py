"""Named locations and authentication strengths, which conditional access policies name."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from evertunnel.access.conditional.strengths import BUILT_IN
from evertunnel.actions.import_policy_objects import Imported, add_named_location, import_policy_objects
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.remove_policy_object import list_naming, list_policies, remove_policy_object
from evertunnel.storage import policy_objects
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow
from evertunnel.web.api.access_policies import ImportedFile
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class NewLocation(BaseModel):
    """Ranges of addresses (CIDR), or codes of countries."""

    model_config = ConfigDict(extra="forbid")
    name: str
    ranges: list[str] = Field(default_factory=list)
    trusted: bool = False
    countries: list[str] = Field(default_factory=list)
    include_unknown: bool = False
    replace: bool = False


class ObjectImport(BaseModel):
    """Files of Graph JSON. With `replace` those of the same id or name take the place of what is there."""

    model_config = ConfigDict(extra="forbid")
    files: list[ImportedFile] = Field(max_length=1000)
    replace: bool = False


@router.get("/locations")
def list_locations(context: Context) -> list[dict[str, Any]]:
    """All named locations, each with the policies that name it."""
    return _list(context, ObjectKind.LOCATION)


@router.post("/locations", status_code=201)
def add_location(body: NewLocation, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, Any]:
    """Add a named location."""

    def change(store: Store) -> Imported:
        return add_named_location(store, **body.model_dump(), actor=actor, now=context.clock())

    return asdict(make_change(context, change, confirmed=confirmed))


@router.post("/locations/import")
def import_locations(body: ObjectImport, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, Any]:
    """Import named locations."""
    return _import(context, ObjectKind.LOCATION, body, actor, confirmed=confirmed)


@router.get("/locations/{name:path}")
def get_location(name: str, context: Context) -> dict[str, Any]:
    """One, by id or name."""
    return _get(context, ObjectKind.LOCATION, name)


@router.delete("/locations/{name:path}", status_code=204)
def remove_location(name: str, context: Context, actor: Actor, *, confirmed: bool = False) -> None:
    """Remove one that no policy names. From a trusted one, the risk of a sign-in may not be known without it."""

    def change(store: Store) -> None:
        remove_policy_object(store, ObjectKind.LOCATION, name, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed)


@router.get("/strengths")
def list_strengths(context: Context) -> list[dict[str, Any]]:
    """Those that are built in, and all others with the policies that name them."""
    return [*map(_build, BUILT_IN), *_list(context, ObjectKind.STRENGTH)]


@router.post("/strengths/import")
def import_strengths(body: ObjectImport, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, Any]:
    """Import authentication strengths; those that are built in are left out."""
    return _import(context, ObjectKind.STRENGTH, body, actor, confirmed=confirmed)


@router.get("/strengths/{name:path}")
def get_strength(name: str, context: Context) -> dict[str, Any]:
    """One, by id or name."""
    for strength in BUILT_IN.values():
        if name.lower() in (strength.id, strength.name.lower()):
            return _build(strength.id)
    return _get(context, ObjectKind.STRENGTH, name)


@router.delete("/strengths/{name:path}", status_code=204)
def remove_strength(name: str, context: Context, actor: Actor) -> None:
    """Remove one that no policy names."""
    remove_policy_object(context.store, ObjectKind.STRENGTH, name, actor=actor, now=context.clock())


def _list(context: Context, kind: ObjectKind) -> list[dict[str, Any]]:
    with context.store.read() as connection:
        rows, policies = policy_objects.list_objects(connection, kind), list_policies(connection)
        return [_describe(row, list_naming(policies, kind, row)) for row in rows]


def _get(context: Context, kind: ObjectKind, name: str) -> dict[str, Any]:
    with context.store.read() as connection:
        row = policy_objects.get_object(connection, kind, name)
        return _describe(row, list_naming(list_policies(connection), kind, row))


def _import(context: Context, kind: ObjectKind, body: ObjectImport, actor: str, *, confirmed: bool) -> dict[str, Any]:
    files = [PolicyFile(file.name, file.data) for file in body.files]

    def change(store: Store) -> Imported:
        return import_policy_objects(store, kind, files, replace=body.replace, actor=actor, now=context.clock())

    return asdict(make_change(context, change, confirmed=confirmed))


def _describe(row: AnyRow, policies: list[str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "document": row.document,
        "policies": policies,
        "changed_at": row.changed_at.isoformat(),
    }


def _build(strength_id: str) -> dict[str, Any]:
    """A strength that is built in, as Graph would write it."""
    strength = BUILT_IN[strength_id]
    combinations = [",".join(sorted(combination.methods)) for combination in strength.combinations]
    document = {
        "id": strength.id,
        "displayName": strength.name,
        "policyType": "builtIn",
        "allowedCombinations": combinations,
    }
    return {"id": strength.id, "name": strength.name, "document": document, "policies": [], "changed_at": None}
