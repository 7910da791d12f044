"""Export all network policies in their order, and import such a file: all of it or nothing, in one transaction.

The file names users, groups, devices and gateways, so that another installation can read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from evertunnel.access.documents import PolicyError, quote, read_object, read_text, refuse_unknown
from evertunnel.access.network_policies import compile_network_policy
from evertunnel.actions.change_network_policies import NAME_WORDS, is_name, order_policies
from evertunnel.actions.network_policy_names import Names
from evertunnel.actions.policy_files import Problems, verify_plain
from evertunnel.actions.write_policies import write_policies
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.snapshot import GATEWAY, NETWORK_POLICIES, has_changed
from evertunnel.storage.store import Store, Transaction, new_id, read_epoch

FORMAT = "evertunnel network policies"
VERSION = 1
POLICIES_AT_MOST = 1000
# A plan holds while nothing of these changes: what its names mean, and the policies that are there.
_PLANNED_FROM = frozenset({*(kind.value for kind in SubjectKind), GATEWAY, NETWORK_POLICIES})
_policies = tables.network_policies


@dataclass(frozen=True, slots=True)
class ListChange:
    """What an import does to the list, by names. One that changed and moved is among both.

    Moved is who stands before or behind others than it did; who only made room did not move.
    """

    added: list[str]
    changed: list[str]
    moved: list[str]
    removed: list[str]


@dataclass(frozen=True, slots=True)
class _Policy:
    """One of the list; its document holds ids."""

    id: str
    name: str
    document: Any


@dataclass(frozen=True, slots=True)
class _Plan:
    """The whole list before and after, in order; `moved` are ids."""

    before: Sequence[_Policy]
    after: Sequence[_Policy]
    moved: frozenset[str]


def export_network_policies(connection: Connection) -> dict[str, Any]:
    """The file of all policies, as it can be imported."""
    names = Names(connection)
    policies = [{"name": each.name, "document": names.name(each.document)} for each in _list_policies(connection)]
    return {"format": FORMAT, "version": VERSION, "policies": policies}


def plan_network_policies(connection: Connection, data: Any, *, replace: bool = False) -> ListChange:
    """What an import would do. Raises what it would raise, but for tests that fail."""
    return _describe(_plan(connection, data, replace=replace))


def import_network_policies(store: Store, data: Any, *, replace: bool = False, actor: str, now: datetime) -> ListChange:
    """Add the policies of a file behind those that are there; with `replace` they become the whole list.

    One that has its name there already keeps its id and history. Raises PolicyProblemsError with everything that is
    wrong, PolicyTestsError; then nothing was imported.
    """
    with store.read() as connection:
        epoch, plan = read_epoch(connection), _plan(connection, data, replace=replace)
    with write_policies(store, now) as tx:
        if has_changed(tx.connection, _PLANNED_FROM, since=epoch):  # somebody was faster
            plan = _plan(tx.connection, data, replace=replace)
        _make(tx, plan, actor=actor)
    return _describe(plan)


def _plan(connection: Connection, data: Any, *, replace: bool) -> _Plan:
    problems, names = Problems(), Names(connection)
    before = _list_policies(connection)
    ids = {each.name.casefold(): each.id for each in before}
    wanted = []
    seen: set[str] = set()
    for index, item in enumerate(_read_file(data)):
        place = f"$.policies[{index}]"
        try:
            policy = _read_policy(item, ids, names, problems, place)
            key = policy.name.casefold()
            if key in seen:
                raise PolicyError("$.name", f"{quote(policy.name)} is twice in what is imported")
            if key in ids and not replace:
                mend = "rename it, or make the file's policies the whole list with --replace"
                raise PolicyError("$.name", f"there is a network policy {quote(policy.name)} already: {mend}")
        except PolicyError as error:
            problems.add(place, error)
            continue
        seen.add(key)
        wanted.append(policy)
    problems.verify_none()
    after = wanted if replace else [*before, *wanted]
    return _Plan(before, after, _find_moved(before, after))


def _read_file(data: Any) -> list[Any]:
    """The policies of a file, not looked at. Raises PolicyError."""
    verify_plain(data)
    file = read_object(data, "$")
    if file.get("format") != FORMAT:
        raise PolicyError("$.format", f"must be {FORMAT!r}, as evertunnel policy network export writes it")
    if file.get("version") != VERSION or isinstance(file.get("version"), bool):
        raise PolicyError("$.version", f"must be {VERSION}: this Evertunnel reads no other")
    refuse_unknown(file, "$", ("format", "version", "policies"))
    policies = file.get("policies")
    if not isinstance(policies, list):
        raise PolicyError("$.policies", "must be a list")
    if len(policies) > POLICIES_AT_MOST:
        raise PolicyError("$.policies", f"holds {len(policies)} policies: import at most {POLICIES_AT_MOST}")
    return policies


def _read_policy(item: Any, ids: dict[str, str], names: Names, problems: Problems, place: str) -> _Policy:
    """One of a file, under the id of the one that has its name, or a new one. Raises PolicyError."""
    refuse_unknown(read_object(item, "$"), "$", ("name", "document"))
    name = read_text(item.get("name"), "$.name")
    if not is_name(name):
        raise PolicyError("$.name", f"must be {NAME_WORDS}")
    if name in ids.values():
        raise PolicyError("$.name", f"{quote(name)} is the id of a network policy here: rename it")
    try:
        compile_network_policy(name, item.get("document"))
        document = names.resolve(item["document"], problems, f"{place}.document")
    except PolicyError as error:
        raise PolicyError(f"$.document{error.path.removeprefix('$')}", error.problem) from error
    return _Policy(ids.get(name.casefold()) or new_id(), name, document)


def _find_moved(before: Sequence[_Policy], after: Sequence[_Policy]) -> frozenset[str]:
    """Of those that stay, the ones that a shortest way from one order to the other takes elsewhere."""
    stay = {each.id for each in before} & {each.id for each in after}
    old, new = ([each.id for each in order if each.id in stay] for order in (before, after))
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return frozenset(stay - {each for block in blocks for each in old[block.a : block.a + block.size]})


def _describe(plan: _Plan) -> ListChange:
    old, new = ({each.id: each for each in order} for order in (plan.before, plan.after))
    return ListChange(
        added=[each.name for each in plan.after if each.id not in old],
        changed=[each.name for each in plan.after if each.id in old and each != old[each.id]],
        moved=[each.name for each in plan.after if each.id in plan.moved],
        removed=[each.name for each in plan.before if each.id not in new],
    )


def _make(tx: Transaction, plan: _Plan, *, actor: str) -> None:
    """Store a plan that was made from what this transaction sees, or from what has not changed since."""
    old = {each.id: each for each in plan.before}
    stay = {each.id for each in plan.after}
    for position, policy in enumerate(plan.before, start=1):
        if policy.id not in stay:
            tx.connection.execute(delete(_policies).where(_policies.c.id == policy.id))
            _record(tx, Audit.NETWORK_POLICY_REMOVE, policy, {"position": position, "document": policy.document}, actor)
    for position, policy in enumerate(plan.after, start=1):
        columns = {"name": policy.name, "name_key": policy.name.casefold(), "document": policy.document}
        changed = {} if policy == old.get(policy.id) else {"document": policy.document}
        if policy.id not in old:
            tx.connection.execute(insert(_policies).values(id=policy.id, position=position, **columns))
            _record(tx, Audit.NETWORK_POLICY_ADD, policy, {"position": position, **changed}, actor)
        elif changed or policy.id in plan.moved:
            tx.connection.execute(update(_policies).where(_policies.c.id == policy.id).values(**columns))
            moved = {"position": position} if policy.id in plan.moved else {}
            _record(tx, Audit.NETWORK_POLICY_CHANGE, policy, changed | moved, actor)
    order_policies(tx, [each.id for each in plan.after])


def _record(tx: Transaction, audit: Audit, policy: _Policy, details: dict[str, Any], actor: str) -> None:
    tx.raise_epoch(NETWORK_POLICIES, policy.id)
    tx.record(AuditEntry(audit, actor, policy.name, policy.id, details))


def _list_policies(connection: Connection) -> list[_Policy]:
    """All that are there, in order."""
    rows = connection.execute(select(_policies).order_by(_policies.c.position))
    return [_Policy(row.id, row.name, row.document) for row in rows]
