"""Add, order, switch and remove network policies. Names become ids here, so that renaming changes no policy."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from evertunnel.access.documents import PolicyError, read_object, read_texts
from evertunnel.access.network_policies import compile_network_policy
from evertunnel.actions.write_policies import write_policies
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import gateways, people, tables
from evertunnel.storage.snapshot import NETWORK_POLICIES
from evertunnel.storage.store import Store, Transaction, new_id

_MAXIMUM_NAME_LENGTH = 100
_policies = tables.network_policies
_NAMED = {
    "users": SubjectKind.USER,
    "groups": SubjectKind.GROUP,
    "user_groups": SubjectKind.GROUP,
    "device_groups": SubjectKind.GROUP,
    "devices": SubjectKind.DEVICE,
}


def add_network_policy(
    store: Store,
    name: str,
    document: Mapping[str, Any],
    *,
    position: int | None = None,
    actor: str,
    now: datetime,
) -> str:
    """Insert at a position counted from 1, or at the end. Raises PolicyError, AlreadyExistsError."""
    with write_policies(store, now) as tx:
        return insert_network_policy(tx, name, document, position=position, actor=actor)


def insert_network_policy(
    tx: Transaction,
    name: str,
    document: Mapping[str, Any],
    *,
    position: int | None,
    policy_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    actor: str,
) -> str:
    """The same within a transaction."""
    if not name.strip() or len(name) > _MAXIMUM_NAME_LENGTH or not name.isprintable():
        raise InvalidInputError("a network policy's name is 1 to 100 printable characters")
    if _find(tx, name) is not None:
        raise AlreadyExistsError(f"there is a network policy {name!r} already")
    resolved = _resolve(tx, document)
    compile_network_policy(name, resolved)
    names = _list_ids(tx)
    place = len(names) + 1 if position is None else max(1, min(position, len(names) + 1))
    tx.connection.execute(
        update(_policies).where(_policies.c.position >= place).values(position=_policies.c.position + 1)
    )
    policy_id = policy_id or new_id()
    tx.connection.execute(
        insert(_policies).values(id=policy_id, position=place, name=name, name_key=name.casefold(), document=resolved)
    )
    tx.raise_epoch(NETWORK_POLICIES, policy_id)
    kept = {"position": place, "document": resolved, **(details or {})}
    tx.record(AuditEntry(Audit.NETWORK_POLICY_ADD, actor, name, policy_id, kept))
    return policy_id


def put_network_policy(
    tx: Transaction,
    name: str,
    document: Mapping[str, Any],
    *,
    position: int | None,
    policy_id: str,
    details: Mapping[str, Any],
    actor: str,
) -> bool:
    """Put a document in the place of the policy of its name, or bring that back at a position. Whether it was away.

    Raises PolicyError, as for one that names whom there is no more.
    """
    row = tx.connection.execute(select(_policies).where(_policies.c.name_key == name.casefold())).first()
    if row is None:
        insert_network_policy(tx, name, document, position=position, policy_id=policy_id, details=details, actor=actor)
        return True
    resolved = _resolve(tx, document)
    compile_network_policy(name, resolved)
    tx.connection.execute(update(_policies).where(_policies.c.id == row.id).values(document=resolved))
    tx.raise_epoch(NETWORK_POLICIES, row.id)
    tx.record(AuditEntry(Audit.NETWORK_POLICY_CHANGE, actor, row.name, row.id, {"document": resolved, **details}))
    return False


def switch_network_policy(store: Store, name: str, *, enabled: bool, actor: str, now: datetime) -> None:
    """Switch a policy on or off. Raises NotFoundError."""
    with write_policies(store, now) as tx:
        row = _get(tx, name)
        document = {**row.document, "enabled": enabled}
        tx.connection.execute(update(_policies).where(_policies.c.id == row.id).values(document=document))
        tx.raise_epoch(NETWORK_POLICIES, row.id)
        tx.record(AuditEntry(Audit.NETWORK_POLICY_CHANGE, actor, row.name, row.id, {"enabled": enabled}))


def remove_network_policy(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Remove a policy. Raises NotFoundError."""
    with write_policies(store, now) as tx:
        row = _get(tx, name)
        tx.connection.execute(delete(_policies).where(_policies.c.id == row.id))
        tx.connection.execute(
            update(_policies).where(_policies.c.position > row.position).values(position=_policies.c.position - 1)
        )
        tx.raise_epoch(NETWORK_POLICIES, row.id)
        details = {"position": row.position, "document": row.document}
        tx.record(AuditEntry(Audit.NETWORK_POLICY_REMOVE, actor, row.name, row.id, details))


def _find(tx: Transaction, name: str) -> Any:
    return tx.connection.execute(
        select(_policies)
        .where((_policies.c.name_key == name.casefold()) | (_policies.c.id == name))
        .order_by((_policies.c.id == name).desc())
    ).first()


def _get(tx: Transaction, name: str) -> Any:
    row = _find(tx, name)
    if row is None:
        raise NotFoundError(
            f"there is no network policy {name!r}; `evertunnel policy network list` shows those that exist"
        )
    return row


def _list_ids(tx: Transaction) -> list[str]:
    return list(tx.connection.execute(select(_policies.c.id).order_by(_policies.c.position)).scalars())


def _resolve(tx: Transaction, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with every name of a user, group, device or gateway replaced by its id."""
    conditions = dict(read_object(document.get("conditions", {}), "$.conditions"))
    for key, kind in _NAMED.items():
        if key in conditions:
            conditions[key] = [
                _find_id(tx, kind, text, f"$.conditions.{key}[{index}]")
                for index, text in enumerate(read_texts(conditions[key], f"$.conditions.{key}"))
            ]
    if "gateways" in conditions:
        path = "$.conditions.gateways"
        ids = []
        for index, text in enumerate(read_texts(conditions["gateways"], path)):
            row = gateways.find_gateway(tx.connection, text)
            if row is None:
                raise PolicyError(f"{path}[{index}]", f"there is no gateway {text!r}")
            ids.append(row.id)
        conditions["gateways"] = ids
    return {**document, "conditions": conditions} if conditions else dict(document)


def _find_id(tx: Transaction, kind: SubjectKind, text: str, path: str) -> str:
    row = people.find_subject(tx.connection, kind, text)
    if row is None:
        raise PolicyError(path, f"there is no {kind.value} {text!r}")
    return str(row.id)
