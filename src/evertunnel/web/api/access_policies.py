"""Conditional access policies."""

from ipaddress import IPv4Address
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from evertunnel.actions import import_access_policies as access
from evertunnel.actions.add_template_policy import add_template_policy
from evertunnel.actions.plan_access_policies import PlannedPolicy, plan_access_policies
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change

router = APIRouter(prefix="/v1/policies/access", tags=["policies"])
_ANY_ADDRESS = IPv4Address("192.0.2.1")  # of a network for examples (RFC 5737): no country has it


class AccessSwitch(BaseModel):
    """on, off or report-only."""

    model_config = ConfigDict(extra="forbid")
    state: str


class ImportedFile(BaseModel):
    """A file of Graph JSON; its name is for errors."""

    model_config = ConfigDict(extra="forbid")
    name: str
    data: Any


class AccessImport(BaseModel):
    """Files to import at once. `map` says what object ids in them are called here; `check` imports nothing.

    With `replace` one takes the place of the policy of its name.
    """

    model_config = ConfigDict(extra="forbid")
    files: list[ImportedFile] = Field(max_length=1000)
    map: dict[str, str] = Field(default_factory=dict)
    check: bool = False
    replace: bool = False


class NewFromTemplate(BaseModel):
    """A policy from a template, report-only unless `on`; `countries` or `location` for one that is about places."""

    model_config = ConfigDict(extra="forbid")
    template: str
    name: str = ""
    on: bool = False
    exclude_groups: list[str] = Field(default_factory=list)
    location: str = ""
    countries: list[str] = Field(default_factory=list)


@router.get("")
def list_access(context: Context) -> list[dict[str, Any]]:
    """All conditional access policies as they were imported."""
    with context.store.read() as connection:
        rows = connection.execute(select(tables.access_policies).order_by(tables.access_policies.c.name))
        return [{"id": row.id, "name": row.name, "document": row.document} for row in rows]


@router.post("", status_code=201)
def import_one(
    body: Annotated[Any, Body()], context: Context, actor: Actor, *, confirmed: bool = False
) -> dict[str, list[str]]:
    """Import Graph JSON: one policy, an array, or an object with `value`."""

    def change(store: Store) -> list[str]:
        return access.import_access_policies(store, body, actor=actor, now=context.clock())

    return {"names": make_change(context, change, confirmed=confirmed)}


@router.post("/import")
def import_files(
    body: AccessImport, context: Context, actor: Actor, *, confirmed: bool = False
) -> list[dict[str, Any]]:
    """Import the policies of several files, or say what would be imported."""
    files = [PolicyFile(file.name, file.data) for file in body.files]
    countries_known = _knows_countries(context)
    if body.check:
        with context.store.read() as connection:
            planned = plan_access_policies(
                connection, files, body.map, replace=body.replace, countries_known=countries_known
            )
    else:

        def change(store: Store) -> list[PlannedPolicy]:
            return access.import_policy_files(
                store,
                files,
                body.map,
                replace=body.replace,
                countries_known=countries_known,
                actor=actor,
                now=context.clock(),
            )

        planned = make_change(context, change, confirmed=confirmed)
    return [_describe(each) for each in planned]


@router.post("/templates", status_code=201)
def add_template(body: NewFromTemplate, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, Any]:
    """Add a policy from a template."""

    def change(store: Store) -> PlannedPolicy:
        return add_template_policy(
            store,
            body.template,
            name=body.name,
            on=body.on,
            exclude_groups=body.exclude_groups,
            location=body.location,
            countries=body.countries,
            countries_known=_knows_countries(context),
            actor=actor,
            now=context.clock(),
        )

    return _describe(make_change(context, change, confirmed=confirmed))


@router.patch("/{name:path}", status_code=204)
def switch_access(name: str, body: AccessSwitch, context: Context, actor: Actor, *, confirmed: bool = False) -> None:
    """Switch a conditional access policy on, off or to report-only."""

    def change(store: Store) -> None:
        access.switch_access_policy(store, name, body.state, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed)


@router.delete("/{name:path}", status_code=204)
def remove_access(name: str, context: Context, actor: Actor) -> None:
    """Remove a conditional access policy."""
    access.remove_access_policy(context.store, name, actor=actor, now=context.clock())


def _knows_countries(context: Context) -> bool:
    """Whether there is a country database that can be read: that says of any address whether it has a country."""
    return context.find_country is not None and context.find_country(_ANY_ADDRESS) is not None


def _describe(planned: PlannedPolicy) -> dict[str, Any]:
    return {
        "name": planned.policy.name,
        "place": planned.place,
        "state": planned.policy.state.value,
        "unevaluable": [{"path": path, "reason": reason} for path, reason in planned.unevaluable],
        "without_meaning": [{"path": path, "reason": reason} for path, reason in planned.without_meaning],
    }
