"""Compliance policies, and what they say of a device."""

from typing import Annotated, Any

from fastapi import APIRouter, Body

from evertunnel.actions.change_compliance_policies import (
    get_compliance_policy,
    import_compliance_policies,
    remove_compliance_policy,
)
from evertunnel.actions.check_compliance import check_compliance
from evertunnel.storage.compliance_policies import list_compliance_policies
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change

router = APIRouter(prefix="/v1/compliance", tags=["compliance"])


@router.get("")
def list_policies(context: Context) -> list[dict[str, Any]]:
    """All, by platform."""
    with context.store.read() as connection:
        return [_describe(row) for row in list_compliance_policies(connection)]


@router.get("/checks/{device:path}")
def check(device: str, context: Context) -> dict[str, Any]:
    """A device's verdict rule by rule, and every fact behind it."""
    return check_compliance(context.store, device, now=context.clock())


@router.get("/{platform}")
def show(platform: str, context: Context) -> dict[str, Any]:
    """A platform's policy."""
    with context.store.read() as connection:
        return _describe(get_compliance_policy(connection, platform))


@router.post("", status_code=201)
def import_policies(
    body: Annotated[Any, Body()], context: Context, actor: Actor, *, confirmed: bool = False
) -> dict[str, Any]:
    """Import one policy or an array of them."""

    def change(store: Store) -> tuple[list[str], int]:
        return import_compliance_policies(store, body, actor=actor, now=context.clock())

    platforms, changed = make_change(context, change, confirmed=confirmed)
    return {"platforms": platforms, "changed": changed}


@router.delete("/{platform}", status_code=204)
def remove(platform: str, context: Context, actor: Actor, *, confirmed: bool = False) -> None:
    """Remove a platform's policy."""

    def change(store: Store) -> int:
        return remove_compliance_policy(store, platform, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed)


def _describe(row: AnyRow) -> dict[str, Any]:
    return {"platform": row.platform, "document": row.document, "changed_at": row.changed_at}
