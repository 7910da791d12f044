"""Remove a named location or an authentication strength that no policy names."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from evertunnel.access.conditional.location_condition import FIELDS
from evertunnel.actions.policy_names import build_key
from evertunnel.actions.write_policies import write_policies
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.storage import policy_objects, tables
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow

_AUDITS = {ObjectKind.LOCATION: Audit.LOCATION_REMOVE, ObjectKind.STRENGTH: Audit.STRENGTH_REMOVE}


def remove_policy_object(store: Store, kind: ObjectKind, name: str, *, actor: str, now: datetime) -> None:
    """Remove one. Raises NotFoundError, InvalidInputError with the policies that name it."""
    with write_policies(store, now) as tx:
        row = policy_objects.get_object(tx.connection, kind, name)
        if policies := list_naming(list_policies(tx.connection), kind, row):
            names = ", ".join(repr(each) for each in policies)
            raise InvalidInputError(
                f"the {kind.words} {row.name!r} is named by conditional access policies: {names}; "
                "change or remove those first (evertunnel policy access remove)"
            )
        policy_objects.delete_object(tx, kind, row.id)
        tx.record(AuditEntry(_AUDITS[kind], actor, row.name, row.id, {"document": row.document}))


def list_policies(connection: Connection) -> Sequence[AnyRow]:
    """All conditional access policies, by name."""
    return connection.execute(select(tables.access_policies).order_by(tables.access_policies.c.name)).all()


def list_naming(policies: Sequence[AnyRow], kind: ObjectKind, row: AnyRow) -> list[str]:
    """Names of those that name it, one that is trusted by AllTrusted as well.

    Graph's answers hold whole strengths inside policies: one that is here counts before what the policy holds of it.
    """
    prefix = build_key(kind, "")
    trusted = kind is ObjectKind.LOCATION and row.document.get("isTrusted")
    return [
        policy.name
        for policy in policies
        if any(key.startswith(prefix) and object_id == row.id for key, object_id in policy.resolved.items())
        or (trusted and _names_all_trusted(policy.document))
        or (kind is ObjectKind.STRENGTH and _find_strength_id(policy.document) == row.id)
    ]


def _names_all_trusted(document: Any) -> bool:
    locations = document["conditions"].get("locations") or {}
    return any("AllTrusted" in (locations.get(field) or ()) for field in FIELDS)


def _find_strength_id(document: Any) -> Any:
    grant = document.get("grantControls") or {}
    return (grant.get("authenticationStrength") or {}).get("id")
