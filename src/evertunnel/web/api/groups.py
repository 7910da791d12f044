"""Groups and their members."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from evertunnel.actions.add_group import add_group
from evertunnel.actions.change_membership import join_group, leave_group
from evertunnel.actions.remove_group import remove_group
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from evertunnel.storage.store import Store
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change

router = APIRouter(prefix="/v1/groups", tags=["groups"])


class NewGroup(BaseModel):
    """A group to add, or another name for one."""

    model_config = ConfigDict(extra="forbid")
    name: str


@router.get("")
def list_groups(context: Context) -> list[dict[str, Any]]:
    """All groups with their direct members."""
    with context.store.read() as connection:
        return [
            {
                "id": row.id,
                "name": row.name,
                "members": [{"kind": kind, "name": name} for kind, name in people.list_members(connection, row.id)],
            }
            for row in people.list_subjects(connection, SubjectKind.GROUP)
        ]


@router.post("", status_code=201)
def add(body: NewGroup, context: Context, actor: Actor) -> dict[str, str]:
    """Add a group."""
    return {"id": add_group(context.store, body.name, actor=actor, now=context.clock()), "name": body.name}


@router.put("/{group:path}/members/{kind}/{member:path}", status_code=204)
def join(
    group: str, kind: SubjectKind, member: str, context: Context, actor: Actor, *, confirmed: bool = False
) -> None:
    """Put a member in."""

    def change(store: Store) -> None:
        join_group(store, group, kind, member, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed or _is_alone(kind))


@router.delete("/{group:path}/members/{kind}/{member:path}", status_code=204)
def leave(
    group: str, kind: SubjectKind, member: str, context: Context, actor: Actor, *, confirmed: bool = False
) -> None:
    """Take a member out."""

    def change(store: Store) -> None:
        leave_group(store, group, kind, member, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed or _is_alone(kind))


@router.post("/{group:path}/renames", status_code=204)
def rename(group: str, body: NewGroup, context: Context, actor: Actor) -> None:
    """Rename a group; its id, and all that hangs on it, stays."""
    rename_subject(context.store, SubjectKind.GROUP, group, body.name, actor=actor, now=context.clock())


@router.delete("/{group:path}", status_code=204)
def remove(group: str, context: Context, actor: Actor, *, confirmed: bool = False) -> None:
    """Remove a group that no policy names."""

    def change(store: Store) -> None:
        remove_group(store, group, actor=actor, now=context.clock())

    make_change(context, change, confirmed=confirmed)


def _is_alone(kind: SubjectKind) -> bool:
    """Nobody is asked about one user or device: over a script that moves thousands all sessions would be counted each
    time.
    """
    return kind is not SubjectKind.GROUP
