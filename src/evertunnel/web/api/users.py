"""Users."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from evertunnel.access.fact_sources import ADMINISTRATOR
from evertunnel.access.facts import SIGN_IN_RISK, USER_RISK
from evertunnel.actions.add_totp import add_totp
from evertunnel.actions.add_user import add_user
from evertunnel.actions.change_user import change_user
from evertunnel.actions.confirm_totp import confirm_totp
from evertunnel.actions.dismiss_risk import dismiss_risk
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.actions.remove_totp import remove_totp
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.actions.report_user import report_user
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.storage import denials, facts, people
from evertunnel.storage.totp import list_totp
from evertunnel.totp import build_uri, encode_secret
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/users", tags=["users"])


class NewUser(BaseModel):
    """A user to add; without a password nobody can sign in as this user here."""

    model_config = ConfigDict(extra="forbid")
    name: str
    display_name: str = ""
    password: str | None = None


class UserChange(BaseModel):
    """What to change. An empty `sid` takes the security identifier away."""

    model_config = ConfigDict(extra="forbid")
    password: str | None = None
    enabled: bool | None = None
    sid: str | None = None
    expire_password: bool = False


class NewName(BaseModel):
    """What a user is to be called."""

    model_config = ConfigDict(extra="forbid")
    name: str


class Code(BaseModel):
    """What an authenticator app shows."""

    model_config = ConfigDict(extra="forbid")
    code: str


class RiskReport(BaseModel):
    """The risk of a user or of his sign-ins: none, low, medium or high; for how long (null: until said anew)."""

    model_config = ConfigDict(extra="forbid")
    sign_in_risk: str | None = None
    user_risk: str | None = None
    life_seconds: int | None = Field(default=None, gt=0, le=366 * 86400)


class RiskDismissal(BaseModel):
    """Why what was found is no risk."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=200)


@router.get("")
def list_users(context: Context) -> list[dict[str, Any]]:
    """All users. `totp` is the state of an authenticator app: null, `unconfirmed` or `confirmed`."""
    with context.store.read() as connection:
        apps = list_totp(connection)
        denied = {row.subject_id: row.reason for row in denials.list_standing(connection, context.clock())}
        return [
            {
                "id": row.id,
                "name": row.name,
                "display_name": row.display_name,
                "enabled": row.enabled,
                "signs_in_here": row.password_hash is not None,
                "mschapv2": row.nt_hash_sealed is not None,
                "password_expired": row.password_expired,
                "totp": _describe_totp(apps.get(row.id)),
                "sid": row.sid,
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
        seal=context.seal,
        actor=actor,
        now=context.clock(),
    )
    return {"id": user_id, "name": body.name}


@router.patch("/{name}", status_code=204)
def change(name: str, body: UserChange, context: Context, actor: Actor) -> None:
    """Change a user. A new password ends tunnels that came up by the old one."""
    change_user(
        context.store,
        name,
        password=body.password,
        enabled=body.enabled,
        sid=body.sid,
        expire_password=body.expire_password,
        seal=context.seal,
        actor=actor,
        now=context.clock(),
    )


@router.post("/{name}/reports", status_code=204)
def report(name: str, body: RiskReport, context: Context, actor: Actor) -> None:
    """Report risk by hand."""
    said = {fact: level for fact, level in ((SIGN_IN_RISK, body.sign_in_risk), (USER_RISK, body.user_risk)) if level}
    if not said:
        raise InvalidInputError("name sign_in_risk, user_risk or both")
    life = None if body.life_seconds is None else timedelta(seconds=body.life_seconds)
    report_user(context.store, name, said, source=ADMINISTRATOR, life=life, actor=actor, now=context.clock())


@router.get("/{name}/facts")
def list_facts_of(name: str, context: Context) -> list[dict[str, str | None]]:
    """What each source last said of a user's risks, what ran out included."""
    now = context.clock()
    with context.store.read() as connection:
        row = people.get_subject(connection, SubjectKind.USER, name)
        found = facts.list_facts(connection, SubjectKind.USER, row.id)
    return [
        {
            "fact": fact.name,
            "value": fact.value,
            "source": fact.source,
            "observed_at": fact.observed_at.isoformat(),
            "expires_at": None if fact.expires_at is None else fact.expires_at.isoformat(),
            "counts": "yes" if fact.expires_at is None or now < fact.expires_at else "no, it ran out",
            "detail": fact.detail,
        }
        for fact in found
    ]


@router.post("/{name}/risk-dismissals", status_code=201)
def dismiss(name: str, body: RiskDismissal, context: Context, actor: Actor) -> dict[str, list[str]]:
    """Say that what we found in the attempts is no risk. What other sources say stays."""
    dismissed = dismiss_risk(context.store, name, reason=body.reason, actor=actor, now=context.clock())
    return {"dismissed": dismissed}


@router.post("/{name}/renames", status_code=204)
def rename(name: str, body: NewName, context: Context, actor: Actor) -> None:
    """Rename a user; its id, and all that hangs on it, stays."""
    rename_subject(context.store, SubjectKind.USER, name, body.name, actor=actor, now=context.clock())


@router.post("/{name}/totp", status_code=201)
def give_totp(name: str, context: Context, actor: Actor) -> dict[str, str]:
    """Give a user an authenticator app; the secret is told this once. It counts once its first code was confirmed."""
    user_name, secret = add_totp(context.store, name, seal=context.seal_sign_in, actor=actor, now=context.clock())
    uri = build_uri(secret, user_name=user_name, issuer=context.organisation)
    return {"name": user_name, "uri": uri, "secret": encode_secret(secret)}


@router.post("/{name}/totp/confirmations", status_code=204)
def confirm(name: str, body: Code, context: Context, actor: Actor) -> None:
    """From now on a sign-in asks for a code."""
    confirm_totp(context.store, name, body.code, unseal=context.unseal_sign_in, actor=actor, now=context.clock())


@router.delete("/{name}/totp", status_code=204)
def take_totp(name: str, context: Context, actor: Actor) -> None:
    """Take the authenticator app away."""
    remove_totp(context.store, name, actor=actor, now=context.clock())


@router.delete("/{name}", status_code=204)
def remove(name: str, context: Context, actor: Actor) -> None:
    """Remove a user. Refused while it has live sessions that no denial ends."""
    remove_subject(context.store, SubjectKind.USER, name, actor=actor, now=context.clock())


def _describe_totp(row: Any) -> str | None:
    if row is None:
        return None
    return "unconfirmed" if row.confirmed_at is None else "confirmed"
