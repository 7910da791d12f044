"""Profiles with their versions."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from evertunnel.errors import NotFoundError
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction, new_id
from evertunnel.storage.tables import AnyRow

_profiles = tables.profiles
_versions = tables.profile_versions


def find_profile(connection: Connection, name: str) -> AnyRow | None:
    """By name, whatever its case."""
    return connection.execute(select(_profiles).where(_profiles.c.name_key == name.casefold())).one_or_none()


def get_profile(connection: Connection, name: str) -> AnyRow:
    """The same; raises NotFoundError."""
    row = find_profile(connection, name)
    if row is None:
        raise NotFoundError(f"there is no profile {name!r}; list them: evertunnel profile list")
    return row


def list_profiles(connection: Connection) -> list[AnyRow]:
    """By name."""
    return list(connection.execute(select(_profiles).order_by(_profiles.c.name_key)))


def get_version(connection: Connection, profile_id: str, version: int) -> AnyRow:
    """One version; raises NotFoundError."""
    row = connection.execute(
        select(_versions).where(_versions.c.profile_id == profile_id, _versions.c.version == version)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"the profile has no version {version}")
    return row


def list_versions(connection: Connection, profile_id: str) -> list[AnyRow]:
    """Newest first."""
    return list(
        connection.execute(
            select(_versions).where(_versions.c.profile_id == profile_id).order_by(_versions.c.version.desc())
        )
    )


def insert_profile(tx: Transaction, name: str, gateway_id: str | None) -> str:
    """A profile without versions yet; returns its id."""
    profile_id = new_id()
    tx.connection.execute(
        insert(_profiles).values(id=profile_id, name=name, name_key=name.casefold(), version=0, gateway_id=gateway_id)
    )
    return profile_id


def insert_version(tx: Transaction, profile_id: str, version: int, document: Mapping[str, Any], *, actor: str) -> None:
    """A new newest version."""
    tx.connection.execute(
        insert(_versions).values(
            id=new_id(), profile_id=profile_id, version=version, document=document, saved_at=tx.now, saved_by=actor
        )
    )
    tx.connection.execute(update(_profiles).where(_profiles.c.id == profile_id).values(version=version))


def forget_gateway(tx: Transaction, gateway_id: str) -> None:
    """Profiles made for a gateway that goes are for none."""
    tx.connection.execute(update(_profiles).where(_profiles.c.gateway_id == gateway_id).values(gateway_id=None))


def delete_profile(tx: Transaction, profile_id: str) -> None:
    """With its versions."""
    tx.connection.execute(delete(_versions).where(_versions.c.profile_id == profile_id))
    tx.connection.execute(delete(_profiles).where(_profiles.c.id == profile_id))
