"""Self-tests of policies."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from evertunnel.access.policy_test_results import PolicyTestResult
from evertunnel.actions.change_policy_tests import (
    describe_document,
    import_policy_tests,
    remove_policy_test,
    try_policy_tests,
)
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.run_policy_tests import get_policy_test, run_policy_tests
from evertunnel.storage.policy_tests import list_policy_tests
from evertunnel.storage.tables import AnyRow
from evertunnel.web.api.access_policies import ImportedFile
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/policies/tests", tags=["policies"])


class ImportOfTests(BaseModel):
    """Files of tests. With `replace` those of the same name take the place of what is there."""

    model_config = ConfigDict(extra="forbid")
    files: list[ImportedFile] = Field(max_length=1000)
    replace: bool = False


class RunOfTests(BaseModel):
    """Which tests: all on record, some of them by name, or those of files, which are not stored."""

    model_config = ConfigDict(extra="forbid")
    names: list[str] | None = Field(default=None, max_length=1000)
    files: list[ImportedFile] | None = Field(default=None, max_length=1000)


@router.get("")
def list_tests(context: Context) -> list[dict[str, Any]]:
    """All, by name."""
    with context.store.read() as connection:
        return [_describe(connection, row) for row in list_policy_tests(connection)]


@router.post("/import")
def import_tests(body: ImportOfTests, context: Context, actor: Actor) -> dict[str, Any]:
    """Import tests, all of them or none."""
    files = [PolicyFile(file.name, file.data) for file in body.files]
    done = import_policy_tests(context.store, files, replace=body.replace, actor=actor, now=context.clock())
    return asdict(done)


@router.post("/run")
def run_tests(body: RunOfTests, context: Context) -> dict[str, Any]:
    """Run tests by the policies as they are. Nothing is recorded or changed."""
    now = context.clock()
    if body.files is None:
        results = run_policy_tests(context.store, body.names, now=now)
    else:
        files = [PolicyFile(file.name, file.data) for file in body.files]
        results = try_policy_tests(context.store, files, now=now)
    failed = sum(not result.passed for result in results)
    return {
        "passed": len(results) - failed,
        "failed": failed,
        "results": [_describe_result(result) for result in results],
    }


@router.get("/{name:path}")
def get_test(name: str, context: Context) -> dict[str, Any]:
    """One, by name or id."""
    with context.store.read() as connection:
        return _describe(connection, get_policy_test(connection, name))


@router.delete("/{name:path}", status_code=204)
def remove_test(name: str, context: Context, actor: Actor) -> None:
    """Remove a test."""
    remove_policy_test(context.store, name, actor=actor, now=context.clock())


def _describe(connection: Connection, row: AnyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "document": describe_document(connection, row),
        "changed_at": row.changed_at.isoformat(),
    }


def _describe_result(result: PolicyTestResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "passed": result.passed,
        "expected": result.expected,
        "got": result.got,
        "detail": result.detail,
        "problem": result.problem,
        "deciding": [asdict(each) for each in result.deciding],
    }
