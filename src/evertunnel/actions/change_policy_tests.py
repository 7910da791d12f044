"""Import and remove self-tests of policies. All of an import or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from evertunnel.access.documents import PolicyError, quote
from evertunnel.access.policy_test_results import PolicyTestResult, PolicyTestsError
from evertunnel.access.policy_tests import TESTS_AT_MOST, PolicyTest, compile_policy_test
from evertunnel.actions.policy_files import PolicyFile, Problems, list_documents, verify_plain
from evertunnel.actions.run_policy_tests import Bench, NamedTest, get_policy_test
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import SubjectKind
from evertunnel.storage import gateways, people, policy_tests
from evertunnel.storage.store import Store, Transaction, new_id
from evertunnel.storage.tables import AnyRow

_MEND = "a test that fails already would refuse no change; change the policies first, or what the test expects"


@dataclass(frozen=True, slots=True)
class ImportedTests:
    """Names of what was added, and of what was put in another's place."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


def import_policy_tests(
    store: Store, files: Sequence[PolicyFile], *, replace: bool = False, actor: str, now: datetime
) -> ImportedTests:
    """Store the tests of all files. With `replace` one of the same name takes the place of what is there.

    Raises PolicyProblemsError with everything that is wrong, PolicyTestsError with those that fail as policies are;
    then nothing was imported.
    """
    bench, imported = Bench(), ImportedTests()
    with store.read() as connection:
        bench.set_up(connection, tests=plan_policy_tests(connection, files))  # compiles while nobody waits
    with store.write(now) as tx:
        planned = plan_policy_tests(tx.connection, files)
        for each in planned:
            is_new = put_policy_test(tx, each, replace=replace, actor=actor)
            (imported.added if is_new else imported.replaced).append(each.name)
        verify_passing(tx, bench, planned)
    return imported


def try_policy_tests(store: Store, files: Sequence[PolicyFile], *, now: datetime) -> list[PolicyTestResult]:
    """Run the tests of files by the policies as they are, and store nothing. Raises PolicyProblemsError."""
    with store.read() as connection:
        scene = Bench().set_up(connection, tests=plan_policy_tests(connection, files))
    return scene.run(now)


def remove_policy_test(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Remove a test, whatever it says. Raises NotFoundError."""
    with store.write(now) as tx:
        row = get_policy_test(tx.connection, name)
        policy_tests.delete_policy_test(tx, row.id)
        document = describe_document(tx.connection, row)
        tx.record(AuditEntry(Audit.POLICY_TEST_REMOVE, actor, row.name, row.id, {"document": document}))


def plan_policy_tests(connection: Connection, files: Sequence[PolicyFile]) -> list[NamedTest]:
    """Read all tests of all files, with the ids of those they name. Raises PolicyProblemsError."""
    problems = Problems()
    documents = list_documents(files, problems)
    if len(documents) > TESTS_AT_MOST:
        raise PolicyError("$", f"holds {len(documents)} policy tests: there may be {TESTS_AT_MOST} at most")
    planned: dict[str, NamedTest] = {}
    for place, document in documents:
        try:
            verify_plain(document)
            test = compile_policy_test(document)
            if test.name.casefold() in planned:
                raise PolicyError("$.name", f"{quote(test.name)} is twice in what is imported")
            planned[test.name.casefold()] = NamedTest(test.name, document, _resolve(connection, test))
        except PolicyError as error:
            problems.add(place, error)
    problems.verify_none()
    return list(planned.values())


def put_policy_test(
    tx: Transaction, test: NamedTest, *, replace: bool, actor: str, details: Mapping[str, Any] | None = None
) -> bool:
    """Store a test that was planned in this very transaction. Returns whether it is new. Raises PolicyError."""
    row = policy_tests.find_policy_test(tx.connection, test.name)
    if row is not None and row.name.casefold() != test.name.casefold():
        raise PolicyError("$.name", f"{quote(test.name)} is the id of another policy test")
    if row is not None and not replace:
        raise PolicyError("$.name", f"there is a policy test {quote(row.name)} already; see --replace")
    if row is None and policy_tests.count_policy_tests(tx.connection) >= TESTS_AT_MOST:
        raise PolicyError("$", f"there may be {TESTS_AT_MOST} policy tests at most")
    test_id = new_id() if row is None else str(row.id)
    policy_tests.store_policy_test(tx, test_id, test.document, test.resolved, is_new=row is None)
    name = Audit.POLICY_TEST_ADD if row is None else Audit.POLICY_TEST_CHANGE
    kept = {"document": test.document, "resolved": dict(test.resolved), **(details or {})}
    tx.record(AuditEntry(name, actor, test.name, test_id, kept))
    return row is None


def verify_passing(tx: Transaction, bench: Bench, planned: Sequence[NamedTest]) -> None:
    """Raise PolicyTestsError for those that fail by the policies of this transaction."""
    if failed := bench.set_up(tx.connection, tests=planned, epoch=tx.epoch).list_failed(tx.now):
        raise PolicyTestsError(failed, mend=_MEND)


def describe_document(connection: Connection, row: AnyRow) -> dict[str, Any]:
    """A test as it can be imported anew: whom it names by the names they have now."""
    document = dict(row.document)
    for kind, subject_id in row.resolved.items():
        found = (
            gateways.find_gateway(connection, subject_id)
            if kind == "gateway"
            else people.find_subject(connection, SubjectKind(kind), subject_id)
        )
        if found is not None and found.id == subject_id:
            document[kind] = found.name
    return document


def _resolve(connection: Connection, test: PolicyTest) -> dict[str, str]:
    named = {"user": test.user, "device": test.device, "gateway": test.gateway}
    resolved = {}
    for kind, name in named.items():
        if not name:
            continue
        row = (
            gateways.find_gateway(connection, name)
            if kind == "gateway"
            else people.find_subject(connection, SubjectKind(kind), name)
        )
        if row is None:
            raise PolicyError(f"$.{kind}", f"there is no {kind} {quote(name)}")
        resolved[kind] = str(row.id)
    return resolved
