"""Profiles, and what gateways offer to clients."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from evertunnel.actions import change_profiles
from evertunnel.actions.describe_offer import describe_offer
from evertunnel.model import TunnelKind
from evertunnel.profiles.document import decode_document, encode_document
from evertunnel.profiles.findings import Level
from evertunnel.profiles.lint.linter import lint_profile
from evertunnel.profiles.offer import verify_against
from evertunnel.storage import gateways, profiles
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1", tags=["profiles"])


class NewProfile(BaseModel):
    """A profile to make from a gateway."""

    model_config = ConfigDict(extra="forbid")
    name: str
    tunnel: TunnelKind
    gateway: str
    suffixes: list[str] = Field(default_factory=list)
    long_lived: bool = False
    suite: str = "recommended"


class SavedProfile(BaseModel):
    """A profile in our own form, and the gateway it is for."""

    model_config = ConfigDict(extra="forbid")
    document: dict[str, Any]
    gateway: str | None = None


@router.get("/gateways/{name}/offer")
def get_offer(name: str, context: Context) -> dict[str, Any]:
    """What a gateway offers to clients."""
    with context.store.read() as connection:
        return asdict(describe_offer(connection, name))


@router.get("/profiles")
def list_profiles(context: Context) -> list[dict[str, Any]]:
    """All profiles, with what keeps each from meeting its gateway."""
    with context.store.read() as connection:
        names = {row.id: row.name for row in gateways.list_gateways(connection)}
        offers = {gateway_id: describe_offer(connection, name) for gateway_id, name in names.items()}
        listed = []
        for row in profiles.list_profiles(connection):
            version = profiles.get_version(connection, row.id, row.version)
            profile = change_profiles.load_profile(version)
            problems = [finding for finding in lint_profile(profile) if finding.level is Level.ERROR]
            if row.gateway_id in offers:
                # Advice too: where both came from one gateway, every difference is news.
                problems += verify_against(profile, offers[row.gateway_id])
            listed.append(
                {
                    "name": row.name,
                    "tunnel": profile.tunnel.value,
                    "version": row.version,
                    "gateway": names.get(row.gateway_id),
                    "saved_at": version.saved_at.isoformat(),
                    "saved_by": version.saved_by,
                    "problems": [finding.what for finding in problems],
                }
            )
        return listed


@router.post("/profiles", status_code=201)
def create(body: NewProfile, context: Context, actor: Actor) -> dict[str, Any]:
    """Make one from a gateway's own configuration."""
    profile = change_profiles.create_profile(
        context.store,
        body.name,
        tunnel=body.tunnel,
        gateway=body.gateway,
        suffixes=tuple(body.suffixes),
        long_lived=body.long_lived,
        suite=body.suite,
        actor=actor,
        now=context.clock(),
    )
    return encode_document(profile)


@router.put("/profiles")
def save(body: SavedProfile, context: Context, actor: Actor) -> dict[str, Any]:
    """Keep one; the same again makes no new version."""
    profile = decode_document(body.document).profile
    saved = change_profiles.save_profile(context.store, profile, gateway=body.gateway, actor=actor, now=context.clock())
    return encode_document(saved)


@router.get("/profiles/{name}")
def get(name: str, context: Context, version: int | None = None) -> dict[str, Any]:
    """The newest version, or another."""
    with context.store.read() as connection:
        row = profiles.get_profile(connection, name)
        found = profiles.get_version(connection, row.id, row.version if version is None else version)
        return encode_document(change_profiles.load_profile(found))


@router.get("/profiles/{name}/versions")
def list_versions(name: str, context: Context) -> list[dict[str, Any]]:
    """Newest first."""
    with context.store.read() as connection:
        row = profiles.get_profile(connection, name)
        return [
            {"version": version.version, "saved_at": version.saved_at.isoformat(), "saved_by": version.saved_by}
            for version in profiles.list_versions(connection, row.id)
        ]


@router.delete("/profiles/{name}", status_code=204)
def remove(name: str, context: Context, actor: Actor) -> None:
    """With all its versions."""
    change_profiles.remove_profile(context.store, name, actor=actor, now=context.clock())
