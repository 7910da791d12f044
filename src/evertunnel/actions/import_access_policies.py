"""Import, switch and remove conditional access policies. All of a file or nothing."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import delete, insert, select, update

from evertunnel.access.conditional.policies import State, compile_access_policy, list_references
from evertunnel.access.documents import PolicyError
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import people, tables
from evertunnel.storage.snapshot import ACCESS_POLICIES
from evertunnel.storage.store import Store, Transaction, new_id

# How an administrator says it.
STATES = {"on": State.ON, "off": State.OFF, "report-only": State.REPORT_ONLY}

_policies = tables.access_policies


def import_access_policies(store: Store, data: Any, *, actor: str, now: datetime) -> list[str]:
    """Import one policy, an array of them, or a Graph answer with `value`. Returns their names.

    Raises PolicyError with the JSON path in the file; then nothing was imported.
    """
    documents, prefix = list_documents(data)
    names = []
    with store.write(now) as tx:
        for index, document in enumerate(documents):
            place = prefix.format(index) if prefix else "$"
            try:
                names.append(insert_access_policy(tx, document, actor=actor))
            except PolicyError as error:
                raise PolicyError(place + error.path.removeprefix("$"), error.problem) from error
    return names


def insert_access_policy(tx: Transaction, document: Mapping[str, Any], *, actor: str) -> str:
    """Store one policy; returns its name. Raises PolicyError, AlreadyExistsError."""
    _verify_plain(document)
    resolved: dict[str, str] = {}
    for path, kind, text in list_references(document):
        if kind not in (SubjectKind.USER, SubjectKind.GROUP):
            continue  # none is stored, so compiling tells where it stands
        row = people.find_subject(tx.connection, SubjectKind(kind), text)
        if row is None:
            raise PolicyError(path, f"there is no {kind} with the id or name {text!r}")
        resolved[text] = row.id
    policy = compile_access_policy(document, resolved)
    if _find(tx, policy.name) is not None:
        raise AlreadyExistsError(f"there is a conditional access policy {policy.name!r} already")
    policy_id = new_id()
    tx.connection.execute(
        insert(_policies).values(
            id=policy_id, name=policy.name, document=dict(document), resolved=resolved, imported_at=tx.now
        )
    )
    tx.raise_epoch(ACCESS_POLICIES, policy_id)
    tx.record(AuditEntry(Audit.ACCESS_POLICY_IMPORT, actor, policy.name, policy_id, {"document": dict(document)}))
    return policy.name


def switch_access_policy(store: Store, name: str, state: str, *, actor: str, now: datetime) -> None:
    """Set a policy's state: on, off or report-only. Live sessions it would refuse end. Raises NotFoundError."""
    if state not in STATES:
        raise InvalidInputError(f"{state!r} is not on, off or report-only")
    with store.write(now) as tx:
        row = _get(tx, name)
        document = {**row.document, "state": STATES[state].value}
        tx.connection.execute(update(_policies).where(_policies.c.id == row.id).values(document=document))
        tx.raise_epoch(ACCESS_POLICIES, row.id)
        tx.record(AuditEntry(Audit.ACCESS_POLICY_CHANGE, actor, row.name, row.id, {"state": STATES[state].value}))


def remove_access_policy(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Remove a policy. Raises NotFoundError."""
    with store.write(now) as tx:
        row = _get(tx, name)
        tx.connection.execute(delete(_policies).where(_policies.c.id == row.id))
        tx.raise_epoch(ACCESS_POLICIES, row.id)
        tx.record(AuditEntry(Audit.ACCESS_POLICY_REMOVE, actor, row.name, row.id, {"document": row.document}))


def _verify_plain(document: Any) -> None:
    """Raise PolicyError for what Python's JSON reader lets through and JSON itself, or the audit, cannot hold."""
    try:
        json.dumps(document, allow_nan=False)
        orjson.dumps(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise PolicyError("$", f"cannot be kept: {error}") from error


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


def list_documents(data: Any) -> tuple[Sequence[Any], str]:
    """The policies of a file and how their JSON paths begin."""
    if isinstance(data, list):
        return data, "$[{}]"
    if isinstance(data, Mapping) and isinstance(data.get("value"), list):
        if data.get("@odata.nextLink"):
            # The policy that blocks may be on the page that is missing.
            raise PolicyError("$.@odata.nextLink", "the export goes on: fetch every page and import them together")
        return data["value"], "$.value[{}]"
    return [data], ""
