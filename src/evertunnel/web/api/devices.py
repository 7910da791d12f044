"""Devices, whom they are assigned to, and what is known of them."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from evertunnel.access.fact_sources import ADMINISTRATOR
from evertunnel.access.facts import COMPLIANT
from evertunnel.actions.add_device import add_device
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_device import change_device
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.actions.report_device import report_device
from evertunnel.model import SubjectKind
from evertunnel.storage import denials, facts, people
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/devices", tags=["devices"])


class NewDevice(BaseModel):
    """A device to add."""

    model_config = ConfigDict(extra="forbid")
    name: str


class DeviceChange(BaseModel):
    """What to change."""

    model_config = ConfigDict(extra="forbid")
    enabled: bool


class Report(BaseModel):
    """Whether a device is compliant, for how long that counts (null: until said otherwise)."""

    model_config = ConfigDict(extra="forbid")
    compliant: bool
    life_seconds: int | None = Field(default=None, gt=0, le=366 * 86400)


class NewName(BaseModel):
    """What a device is to be called."""

    model_config = ConfigDict(extra="forbid")
    name: str


@router.get("")
def list_devices(context: Context) -> list[dict[str, Any]]:
    """All devices."""
    now = context.clock()
    with context.store.read() as connection:
        denied = {row.subject_id: row.reason for row in denials.list_standing(connection, now)}
        users = people.load_assigned_users(connection)
        known = facts.load_facts(connection, SubjectKind.DEVICE)
        return [
            {
                "id": row.id,
                "name": row.name,
                "enabled": row.enabled,
                "users": users.get(row.id, []),
                "denied": denied.get(row.id),
                "facts": [
                    {
                        "name": fact.name,
                        "value": fact.value,
                        "source": fact.source,
                        "observed_at": fact.observed_at,
                        "expires_at": fact.expires_at,
                        "counts": fact.expires_at is None or now < fact.expires_at,
                    }
                    for fact in known.get(row.id, [])
                ],
            }
            for row in people.list_subjects(connection, SubjectKind.DEVICE)
        ]


@router.post("", status_code=201)
def add(body: NewDevice, context: Context, actor: Actor) -> dict[str, str]:
    """Add a device."""
    return {"id": add_device(context.store, body.name, actor=actor, now=context.clock()), "name": body.name}


@router.patch("/{name}", status_code=204)
def change(name: str, body: DeviceChange, context: Context, actor: Actor) -> None:
    """Enable or disable a device."""
    change_device(context.store, name, enabled=body.enabled, actor=actor, now=context.clock())


@router.put("/{name}/users/{user}", status_code=204)
def assign(name: str, user: str, context: Context, actor: Actor) -> None:
    """Assign a device to a user."""
    assign_device(context.store, name, user, actor=actor, now=context.clock())


@router.delete("/{name}/users/{user}", status_code=204)
def unassign(name: str, user: str, context: Context, actor: Actor) -> None:
    """Take that back."""
    assign_device(context.store, name, user, assigned=False, actor=actor, now=context.clock())


@router.post("/{name}/reports", status_code=204)
def report(name: str, body: Report, context: Context, actor: Actor) -> None:
    """Report compliance by hand."""
    report_device(
        context.store,
        name,
        COMPLIANT,
        value=body.compliant,
        source=ADMINISTRATOR,
        life=None if body.life_seconds is None else timedelta(seconds=body.life_seconds),
        actor=actor,
        now=context.clock(),
    )


@router.post("/{name}/renames", status_code=204)
def rename(name: str, body: NewName, context: Context, actor: Actor) -> None:
    """Rename a device; its id, and all that hangs on it, stays."""
    rename_subject(context.store, SubjectKind.DEVICE, name, body.name, actor=actor, now=context.clock())


@router.delete("/{name}", status_code=204)
def remove(name: str, context: Context, actor: Actor) -> None:
    """Remove a device. Refused while it has live sessions that no denial ends."""
    remove_subject(context.store, SubjectKind.DEVICE, name, actor=actor, now=context.clock())
