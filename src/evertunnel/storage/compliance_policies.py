"""Compliance policies: at most one a platform."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

_policies = tables.compliance_policies


def list_compliance_policies(connection: Connection) -> list[AnyRow]:
    """All, by platform."""
    return list(connection.execute(select(_policies).order_by(_policies.c.platform)))


def find_compliance_policy(connection: Connection, platform: str) -> AnyRow | None:
    """A platform's."""
    return connection.execute(select(_policies).where(_policies.c.platform == platform)).one_or_none()


def store_compliance_policy(tx: Transaction, platform: str, document: Mapping[str, Any]) -> None:
    """Replace a platform's."""
    delete_compliance_policy(tx, platform)
    tx.connection.execute(insert(_policies).values(platform=platform, document=document, changed_at=tx.now))


def delete_compliance_policy(tx: Transaction, platform: str) -> None:
    """Remove a platform's."""
    tx.connection.execute(delete(_policies).where(_policies.c.platform == platform))
