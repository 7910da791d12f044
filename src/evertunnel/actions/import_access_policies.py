"""Import, switch and remove conditional access policies. All of an import or nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from evertunnel.access.conditional.policies import State
from evertunnel.actions.plan_access_policies import (
    PLANNED_FROM,
    PlannedPolicy,
    build_mapping,
    plan_access_policies,
)
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.write_policies import write_policies
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.storage import tables
from evertunnel.storage.snapshot import ACCESS_POLICIES, has_changed
from evertunnel.storage.store import Store, Transaction, new_id, read_epoch

# How an administrator says it.
STATES = {"on": State.ON, "off": State.OFF, "report-only": State.REPORT_ONLY}

_policies = tables.access_policies


def import_access_policies(store: Store, data: Any, *, actor: str, now: datetime) -> list[str]:
    """Import one policy, an array of them, or a Graph answer with `value`. Returns their names.

    Raises PolicyProblemsError with the JSON path in the file, AlreadyExistsError; then nothing was imported.
    """
    planned = import_policy_files(store, [PolicyFile("", data)], actor=actor, now=now)
    return [each.policy.name for each in planned]


def import_policy_files(
    store: Store,
    files: Sequence[PolicyFile],
    mapping: Mapping[str, str] | None = None,
    *,
    replace: bool = False,
    countries_known: bool = True,
    actor: str,
    now: datetime,
) -> list[PlannedPolicy]:
    """Import the policies of several files. `mapping` says what ids of another directory are called here.

    With `replace` one takes the place of the policy of its name, and keeps that one's id.

    Raises PolicyProblemsError with everything that is wrong, AlreadyExistsError; then nothing was imported.
    """

    def plan(connection: Connection) -> list[PlannedPolicy]:
        return plan_access_policies(connection, files, mapping, replace=replace, countries_known=countries_known)

    with store.read() as connection:
        epoch, planned = read_epoch(connection), plan(connection)
    with write_policies(store, now) as tx:
        if has_changed(tx.connection, PLANNED_FROM, since=epoch):
            planned = plan(tx.connection)
        for each in planned:
            row = tx.connection.execute(select(_policies.c.id).where(_policies.c.name == each.policy.name)).first()
            if row is None:
                store_planned(tx, each, actor=actor)
                continue
            tx.connection.execute(delete(_policies).where(_policies.c.id == row.id))
            store_planned(tx, each, policy_id=row.id, audit=Audit.ACCESS_POLICY_CHANGE, actor=actor)
    return planned


def store_planned(
    tx: Transaction,
    planned: PlannedPolicy,
    *,
    policy_id: str | None = None,
    audit: Audit = Audit.ACCESS_POLICY_IMPORT,
    details: Mapping[str, Any] | None = None,
    actor: str,
) -> None:
    """Store a policy, under an id it had or a new one.

    It was planned from what this transaction sees, or from what has not changed since.
    """
    policy_id, name = policy_id or new_id(), planned.policy.name
    document, resolved = dict(planned.document), dict(planned.resolved)
    tx.connection.execute(
        insert(_policies).values(id=policy_id, name=name, document=document, resolved=resolved, imported_at=tx.now)
    )
    tx.raise_epoch(ACCESS_POLICIES, policy_id)
    kept = {"document": document, "resolved": resolved, **(details or {})}
    tx.record(AuditEntry(audit, actor, name, policy_id, kept))


def put_access_policy(
    tx: Transaction,
    document: Mapping[str, Any],
    resolved: Mapping[str, str] | None,
    *,
    policy_id: str,
    details: Mapping[str, Any],
    actor: str,
) -> bool:
    """Put a document in the place of the policy of its name, or bring that back. Returns whether it was not there.

    `resolved` is what its texts meant; None where nobody knows: then what they mean now. Raises PolicyProblemsError.
    """
    row = tx.connection.execute(select(_policies).where(_policies.c.name == document["displayName"])).first()
    if row is not None:
        policy_id = row.id
        resolved = row.resolved if resolved is None else resolved
        tx.connection.execute(delete(_policies).where(_policies.c.id == row.id))
    files = [PolicyFile("", document)]
    (planned,) = plan_access_policies(tx.connection, files, build_mapping(document, resolved or {}))
    audit = Audit.ACCESS_POLICY_IMPORT if row is None else Audit.ACCESS_POLICY_CHANGE
    store_planned(tx, planned, policy_id=policy_id, audit=audit, details=details, actor=actor)
    return row is None


def switch_access_policy(store: Store, name: str, state: str, *, actor: str, now: datetime) -> None:
    """Set a policy's state: on, off or report-only. Live sessions it would refuse end. Raises NotFoundError."""
    if state not in STATES:
        raise InvalidInputError(f"{state!r} is not on, off or report-only")
    with write_policies(store, now) as tx:
        row = _get(tx, name)
        document = {**row.document, "state": STATES[state].value}
        tx.connection.execute(update(_policies).where(_policies.c.id == row.id).values(document=document))
        tx.raise_epoch(ACCESS_POLICIES, row.id)
        tx.record(AuditEntry(Audit.ACCESS_POLICY_CHANGE, actor, row.name, row.id, {"state": STATES[state].value}))


def remove_access_policy(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Remove a policy. Raises NotFoundError."""
    with write_policies(store, now) as tx:
        row = _get(tx, name)
        tx.connection.execute(delete(_policies).where(_policies.c.id == row.id))
        tx.raise_epoch(ACCESS_POLICIES, row.id)
        details = {"document": row.document, "resolved": row.resolved}
        tx.record(AuditEntry(Audit.ACCESS_POLICY_REMOVE, actor, row.name, row.id, details))


def _find(tx: Transaction, name: str) -> Any:
    return tx.connection.execute(
        select(_policies)
        .where((_policies.c.name == name) | (_policies.c.id == name))
        .order_by((_policies.c.id == name).desc())
    ).first()


def _get(tx: Transaction, name: str) -> Any:
    row = _find(tx, name)
    if row is None:
        raise NotFoundError(
            f"there is no conditional access policy {name!r}; `evertunnel policy access list` shows those that exist"
        )
    return row
