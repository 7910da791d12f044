"""Users."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from evertunnel.actions.add_user import add_user
from evertunnel.actions.change_user import change_user
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.model import SubjectKind
from evertunnel.storage import denials, people
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/users", tags=["users"])


class NewUser(BaseModel):
    """A user to add; without a password nobody can sign in as this user here."""

    model_config = ConfigDict(extra="forbid")
    name: str
    display_name: str = ""
    password: str | None = None


class UserChange(BaseModel):
    """What to change."""

    model_config = ConfigDict(extra="forbid")
    password: str | None = None
    enabled: bool | None = None


class NewName(BaseModel):
    """What a user is to be called."""

    model_config = ConfigDict(extra="forbid")
    name: str


@router.get("")
def list_users(context: Context) -> list[dict[str, Any]]:
    """All users."""
    with context.store.read() as connection:
        denied = {row.subject_id: row.reason for row in denials.list_standing(connection, context.clock())}
        return [
            {
                "id": row.id,
                "name": row.name,
                "display_name": row.display_name,
                "enabled": row.enabled,
                "signs_in_here": row.password_hash is not None,
                "denied": denied.get(row.id),
            }
            for row in people.list_subjects(connection, SubjectKind.USER)
        ]


@router.post("", status_code=201)
def add(body: NewUser, context: Context, actor: Actor) -> dict[str, str]:
    """Add a user."""
    user_id = add_user(
        context.store,
        body.name,
        display_name=body.display_name,
        password=body.password,
        actor=actor,
        now=context.clock(),
    )
    return {"id": user_id, "name": body.name}


@router.patch("/{name}", status_code=204)
def change(name: str, body: UserChange, context: Context, actor: Actor) -> None:
    """Change a user."""
    change_user(context.store, name, password=body.password, enabled=body.enabled, actor=actor, now=context.clock())


@router.post("/{name}/renames", status_code=204)
def rename(name: str, body: NewName, context: Context, actor: Actor) -> None:
    """Rename a user; its id, and all that hangs on it, stays."""
    rename_subject(context.store, SubjectKind.USER, name, body.name, actor=actor, now=context.clock())


@router.delete("/{name}", status_code=204)
def remove(name: str, context: Context, actor: Actor) -> None:
    """Remove a user. Refused while it has live sessions that no denial ends."""
    remove_subject(context.store, SubjectKind.USER, name, actor=actor, now=context.clock())
