"""Roll a policy back to what a version of it left behind: one more change, with every check of a change."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from evertunnel.access.documents import PolicyError, PolicyProblemsError
from evertunnel.access.policy_test_results import PolicyTestsError
from evertunnel.actions.change_compliance_policies import put_compliance_policy
from evertunnel.actions.change_network_policies import put_network_policy
from evertunnel.actions.change_policy_tests import plan_policy_tests, put_policy_test, verify_passing
from evertunnel.actions.import_access_policies import put_access_policy
from evertunnel.actions.import_policy_objects import put_policy_object
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.policy_history import (
    Content,
    PolicyKind,
    Version,
    get_line,
    get_version,
    read_contents,
)
from evertunnel.actions.run_policy_tests import Bench
from evertunnel.actions.write_policies import write_policies
from evertunnel.errors import InvalidInputError
from evertunnel.storage import policy_objects
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store, Transaction

_OBJECTS = {PolicyKind.LOCATION: ObjectKind.LOCATION, PolicyKind.STRENGTH: ObjectKind.STRENGTH}


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What was rolled back to which version. `added`: it had been removed, and is there again."""

    kind: PolicyKind
    name: str
    to: int
    added: bool


def roll_back_policy(
    store: Store, name: str, to: int, *, kind: PolicyKind | None = None, actor: str, now: datetime
) -> RolledBack:
    """Put the document of a version in the place of what stands now, or bring back what was removed.

    Raises NotFoundError, InvalidInputError, PolicyError as for whom it names and who is no more, PolicyTestsError.
    """
    with write_policies(store, now) as tx:
        line = get_line(tx.connection, name, kind)
        version = get_version(line, to)
        contents = read_contents(tx.connection, line, {to, len(line)})
        wanted = contents[to]
        if wanted.document is None:
            raise InvalidInputError(f"version {to} of {name[:100]!r} is its removal: remove it instead")
        if _is_same(wanted, contents[len(line)]) and _has_its_name(tx, version):
            raise InvalidInputError(f"{name[:100]!r} is as version {to} left it already")
        try:
            added = _put(tx, version, wanted, contents[len(line)].position, {"rolled_back_to": to}, actor)
        except PolicyTestsError:
            raise
        except PolicyError as error:
            problems = error.problems if isinstance(error, PolicyProblemsError) else ((error.path, error.problem),)
            raise PolicyProblemsError([(f"version {to}: {place}", each) for place, each in problems]) from error
    return RolledBack(version.kind, version.name, to, added)


def _put(
    tx: Transaction, version: Version, wanted: Content, position: int | None, details: Mapping[str, Any], actor: str
) -> bool:
    document = wanted.document
    assert document is not None
    match version.kind:
        case PolicyKind.ACCESS:
            return put_access_policy(
                tx, document, wanted.resolved, policy_id=version.object_id, details=details, actor=actor
            )
        case PolicyKind.NETWORK:
            return put_network_policy(
                tx,
                version.name,
                document,
                position=position,
                policy_id=version.object_id,
                details=details,
                actor=actor,
            )
        case PolicyKind.COMPLIANCE:
            return put_compliance_policy(tx, document, details=details, actor=actor)
        case PolicyKind.TEST:
            # Whom it named by their ids: another may have the name by now.
            (planned,) = plan_policy_tests(tx.connection, [PolicyFile("", {**document, **(wanted.resolved or {})})])
            planned = replace(planned, document=document)
            verify_passing(tx, Bench(), [planned])
            return put_policy_test(tx, planned, replace=True, details=details, actor=actor)
        case _:
            kind = _OBJECTS[version.kind]
            return put_policy_object(tx, kind, document, object_id=version.object_id, details=details, actor=actor)


def _has_its_name(tx: Transaction, version: Version) -> bool:
    """Locations and strengths can be renamed by importing another document with their id."""
    if version.kind not in _OBJECTS:
        return True
    row = policy_objects.find_object(tx.connection, _OBJECTS[version.kind], version.name)
    return row is not None and row.name.casefold() == version.name.casefold()


def _is_same(one: Content, other: Content) -> bool:
    """What was not recorded is taken for the same."""
    same_meaning = None in (one.resolved, other.resolved) or one.resolved == other.resolved
    return one.document == other.document and same_meaning
