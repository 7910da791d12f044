"""Add, change, order, switch and remove network policies. Names become ids, so that renaming changes no policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from evertunnel.access.documents import read_object
from evertunnel.access.network_policies import compile_network_policy
from evertunnel.actions.network_policy_names import Names, resolve_names
from evertunnel.actions.policy_history import PolicyKind, get_line
from evertunnel.actions.write_policies import write_policies
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.storage import tables
from evertunnel.storage.snapshot import NETWORK_POLICIES
from evertunnel.storage.store import Store, Transaction, new_id

_MAXIMUM_NAME_LENGTH = 100
NAME_WORDS = f"1 to {_MAXIMUM_NAME_LENGTH} printable characters"
_policies = tables.network_policies


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy as it stands. `position` counts from 1, `version` is that of its history; names stand for ids."""

    id: str
    name: str
    position: int
    version: int
    document: Mapping[str, Any]


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
    if not is_name(name):
        raise InvalidInputError(f"a network policy's name is {NAME_WORDS}")
    if _find(tx.connection, name) is not None:
        raise AlreadyExistsError(f"there is a network policy {name!r} already")
    resolved = resolve_names(tx.connection, document)
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
    resolved = resolve_names(tx.connection, document)
    compile_network_policy(name, resolved)
    tx.connection.execute(update(_policies).where(_policies.c.id == row.id).values(document=resolved))
    tx.raise_epoch(NETWORK_POLICIES, row.id)
    tx.record(AuditEntry(Audit.NETWORK_POLICY_CHANGE, actor, row.name, row.id, {"document": resolved, **details}))
    return False


def change_network_policy(
    store: Store,
    name: str,
    *,
    document: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    position: int | None = None,
    version: int | None = None,
    actor: str,
    now: datetime,
) -> StoredPolicy:
    """Change a policy's document, its place or both, in one transaction. It keeps its id; what is so already, too.

    `document` takes the place of the whole one, and one that does not say whether it is on leaves it so. `changes` are
    merged into what stands at that moment (RFC 7386: null takes away). With `version` it must still be at that one.

    Raises NotFoundError, PolicyError, InvalidInputError.
    """
    if document is not None and changes is not None:
        raise InvalidInputError("give a whole document or changes of it, not both")
    with write_policies(store, now) as tx:
        row = _get(tx.connection, name)
        newest = _count_versions(tx.connection, row.name)
        if version is not None and version != newest:
            raise InvalidInputError(
                f"network policy {row.name!r} is at version {newest}, and this was made from version {version}: "
                "evertunnel policy diff says what somebody changed; begin with evertunnel policy network show anew"
            )
        wanted = row.document
        if document is not None:
            off = {"enabled": False} if row.document.get("enabled") is False else {}
            wanted = {**off, **document}
        elif changes is not None:
            wanted = _merge(row.document, changes)
        resolved = resolve_names(tx.connection, wanted)
        compile_network_policy(row.name, resolved)
        ids = _list_ids(tx)
        place = row.position if position is None else max(1, min(position, len(ids)))
        details: dict[str, Any] = {} if resolved == row.document else {"document": resolved}
        if place != row.position:
            details["position"] = place
            ids.remove(row.id)
            ids.insert(place - 1, row.id)
            order_policies(tx, ids)
        if details:
            tx.connection.execute(update(_policies).where(_policies.c.id == row.id).values(document=resolved))
            tx.raise_epoch(NETWORK_POLICIES, row.id)
            tx.record(AuditEntry(Audit.NETWORK_POLICY_CHANGE, actor, row.name, row.id, details))
            newest += 1
        return StoredPolicy(row.id, row.name, place, newest, Names(tx.connection).name(resolved))


def get_network_policy(connection: Connection, name: str) -> StoredPolicy:
    """A policy by name or id. Raises NotFoundError."""
    row = _get(connection, name)
    version = _count_versions(connection, row.name)
    return StoredPolicy(row.id, row.name, row.position, version, Names(connection).name(row.document))


def order_policies(tx: Transaction, ids: Sequence[str]) -> None:
    """Give all policies, by id, their places from 1 on."""
    rows = tx.connection.execute(select(_policies.c.id, _policies.c.position))
    places = {row.id: row.position for row in rows}
    for place, policy_id in enumerate(ids, start=1):
        if places[policy_id] != place:
            tx.connection.execute(update(_policies).where(_policies.c.id == policy_id).values(position=place))


def is_name(name: str) -> bool:
    """Whether a network policy may be called so."""
    return bool(name.strip()) and len(name) <= _MAXIMUM_NAME_LENGTH and name.isprintable()


def switch_network_policy(store: Store, name: str, *, enabled: bool, actor: str, now: datetime) -> None:
    """Switch a policy on or off. Raises NotFoundError."""
    with write_policies(store, now) as tx:
        row = _get(tx.connection, name)
        document = {**row.document, "enabled": enabled}
        tx.connection.execute(update(_policies).where(_policies.c.id == row.id).values(document=document))
        tx.raise_epoch(NETWORK_POLICIES, row.id)
        tx.record(AuditEntry(Audit.NETWORK_POLICY_CHANGE, actor, row.name, row.id, {"enabled": enabled}))


def remove_network_policy(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Remove a policy. Raises NotFoundError."""
    with write_policies(store, now) as tx:
        row = _get(tx.connection, name)
        tx.connection.execute(delete(_policies).where(_policies.c.id == row.id))
        tx.connection.execute(
            update(_policies).where(_policies.c.position > row.position).values(position=_policies.c.position - 1)
        )
        tx.raise_epoch(NETWORK_POLICIES, row.id)
        details = {"position": row.position, "document": row.document}
        tx.record(AuditEntry(Audit.NETWORK_POLICY_REMOVE, actor, row.name, row.id, details))


def _find(connection: Connection, name: str) -> Any:
    return connection.execute(
        select(_policies)
        .where((_policies.c.name_key == name.casefold()) | (_policies.c.id == name))
        .order_by((_policies.c.id == name).desc())
    ).first()


def _get(connection: Connection, name: str) -> Any:
    row = _find(connection, name)
    if row is None:
        raise NotFoundError(
            f"there is no network policy {name!r}; `evertunnel policy network list` shows those that exist"
        )
    return row


def _list_ids(tx: Transaction) -> list[str]:
    return list(tx.connection.execute(select(_policies.c.id).order_by(_policies.c.position)).scalars())


def _count_versions(connection: Connection, name: str) -> int:
    return len(get_line(connection, name, PolicyKind.NETWORK))


def _merge(document: Mapping[str, Any], changes: Mapping[str, Any], path: str = "$") -> dict[str, Any]:
    """Two levels deep, as documents are. Raises PolicyError."""
    merged = dict(document)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif path == "$" and key in ("conditions", "settings"):
            inner = f"$.{key}"
            merged[key] = _merge(merged.get(key, {}), read_object(value, inner), inner)
        else:
            merged[key] = value
    return merged
