"""Importing conditional access policies: all of a file or nothing, with the place of what is wrong."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.access.documents import PolicyError
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import (
    import_access_policies,
    import_policy_files,
    remove_access_policy,
    switch_access_policy,
)
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.policy_history import get_line, read_contents
from evertunnel.audit import Audit
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import Reason
from evertunnel.storage import tables
from tests.installation import ALICE, Installation
from tests.unit.access.samples import make_document


def list_names(installation: Installation) -> list[str]:
    with installation.store.read() as connection:
        statement = select(tables.access_policies.c.name).order_by(tables.access_policies.c.name)
        return list(connection.execute(statement).scalars())


def find_policy(installation: Installation, name: str) -> tables.AnyRow:
    with installation.store.read() as connection:
        return connection.execute(select(tables.access_policies).where(tables.access_policies.c.name == name)).one()


def block(name: str = "policy", **changes: Any) -> dict[str, Any]:
    return make_document("block", name=name) | changes


@pytest.mark.parametrize(
    "data",
    [block("a"), [block("a")], {"value": [block("a")]}, {"@odata.context": "x", "value": [block("a")]}],
    ids=["one", "an array", "an answer", "an answer of Graph"],
)
def test_a_policy_is_taken_however_it_is_wrapped(installation: Installation, data: Any) -> None:
    assert installation.do(import_access_policies, data) == ["a"]
    assert list_names(installation) == ["a"]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (block(state="on"), "$.state"),
        ([block("a"), block("b", state="on")], "$[1].state"),
        ({"value": [block("a"), block("b", sessionControls=[1])]}, "$.value[1].sessionControls"),
        ([block("a"), 7], "$[1]"),
        (7, "$"),
        (None, "$"),
        ("text", "$"),
        ({"value": "text"}, "$.conditions"),
    ],
)
def test_a_wrong_file_is_refused_at_its_place_and_nothing_is_imported(
    installation: Installation, data: Any, path: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        installation.do(import_access_policies, data)
    assert caught.value.path == path
    assert list_names(installation) == []


def test_one_of_the_same_name_is_replaced_and_stays_the_policy_it_is(installation: Installation) -> None:
    installation.do(import_access_policies, [block("a"), block("b")])
    before = find_policy(installation, "a")
    files = [PolicyFile("", [block("a", state="disabled"), block("c")])]
    with pytest.raises(AlreadyExistsError):
        installation.do(import_policy_files, files)
    installation.do(import_policy_files, files, replace=True)
    after = find_policy(installation, "a")
    assert (after.id, before.document["state"], after.document["state"]) == (before.id, "enabled", "disabled")
    assert list_names(installation) == ["a", "b", "c"]
    with installation.store.read() as connection:
        line = get_line(connection, "a")
        contents = read_contents(connection, line, [1, 2])
    assert [each.audit for each in line] == [Audit.ACCESS_POLICY_IMPORT, Audit.ACCESS_POLICY_CHANGE]
    assert [contents[number].document for number in (1, 2)] == [before.document, after.document]


def test_none_replaces_another_of_the_same_import(installation: Installation) -> None:
    installation.do(import_access_policies, block("a"))
    with pytest.raises(AlreadyExistsError, match="already"):
        installation.do(import_policy_files, [PolicyFile("", [block("a"), block("a")])], replace=True)


def test_one_page_of_several_is_refused(installation: Installation) -> None:
    with pytest.raises(PolicyError, match="fetch every page") as caught:
        installation.do(import_access_policies, {"value": [block()], "@odata.nextLink": "https://graph/next"})
    assert caught.value.path == "$.@odata.nextLink"


@pytest.mark.parametrize(
    "text",
    ['{"description": 1e999}', '{"description": NaN}', '{"id": 340282366920938463463374607431768211456}',
     '{"description": "\\ud800"}', '{"description": ' + "[" * 300 + "]" * 300 + "}"],
    ids=["infinite", "not a number", "huge", "half a character", "deep"],
)  # fmt: skip
def test_what_json_lets_through_and_the_record_cannot_hold_is_refused(installation: Installation, text: str) -> None:
    with pytest.raises(PolicyError, match="cannot be kept"):
        installation.do(import_access_policies, block() | json.loads(text))
    assert list_names(installation) == []


def test_users_and_groups_are_found_by_name_and_kept_by_id(installation: Installation) -> None:
    user_id, group_id = installation.add_user(), installation.add_group("Sales")
    users = {"includeUsers": [ALICE.upper()], "excludeGroups": ["SALES"]}
    installation.do(import_access_policies, make_document("block", users=users))
    with installation.store.read() as connection:
        row = connection.execute(select(tables.access_policies)).one()
    assert row.resolved == {ALICE.upper(): user_id, "SALES": group_id}
    assert row.document["conditions"]["users"] == users


@pytest.mark.parametrize(
    ("users", "path"),
    [
        ({"includeUsers": ["nobody"]}, "$.conditions.users.includeUsers[0]"),
        ({"includeUsers": ["All"], "excludeGroups": ["nobody"]}, "$.conditions.users.excludeGroups[0]"),
        ({"includeGroups": ["alice@corp.example"]}, "$.conditions.users.includeGroups[0]"),
    ],
)
def test_somebody_unknown_is_refused_at_his_place(installation: Installation, users: dict[str, Any], path: str) -> None:
    installation.add_user()
    with pytest.raises(PolicyError, match="there is no") as caught:
        installation.do(import_access_policies, make_document("block", users=users))
    assert caught.value.path == path


def test_a_name_is_imported_once(installation: Installation) -> None:
    installation.do(import_access_policies, block("a"))
    with pytest.raises(AlreadyExistsError):
        installation.do(import_access_policies, [block("b"), block("a")])
    assert list_names(installation) == ["a"]


def test_switching_counts_at_once(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(import_access_policies, block(state="disabled"))
    assert installation.decide(certificate_id).granted
    installation.do(switch_access_policy, "policy", "on")
    assert installation.decide(certificate_id).reason is Reason.BLOCKED_BY_ACCESS_POLICY
    installation.do(switch_access_policy, "policy", "report-only")
    decision = installation.decide(certificate_id)
    assert decision.granted
    assert [result.result for result in decision.results] == ["success", "reportOnlyFailure"]
    installation.do(switch_access_policy, "policy", "on")
    installation.do(remove_access_policy, "policy")
    assert installation.decide(certificate_id).granted


@pytest.mark.parametrize("state", ["", "enabled", "ON", "reportonly"])
def test_an_unknown_state_is_refused_with_those_that_exist(installation: Installation, state: str) -> None:
    installation.do(import_access_policies, block())
    with pytest.raises(InvalidInputError, match="is not on, off or report-only"):
        installation.do(switch_access_policy, "policy", state)


def test_an_unknown_policy_is_told(installation: Installation) -> None:
    with pytest.raises(NotFoundError, match="evertunnel policy access list"):
        installation.do(switch_access_policy, "nothing", "on")
    with pytest.raises(NotFoundError):
        installation.do(remove_access_policy, "nothing")


def test_the_audit_has_the_whole_policy_that_came_and_went(installation: Installation) -> None:
    installation.do(import_access_policies, block())
    installation.do(remove_access_policy, "policy")
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.audit).where(tables.audit.c.subject == "policy")).all()
    assert {row.name for row in rows} == {"access-policy:import", "access-policy:remove"}
    assert all(json.loads(row.details)["document"] == block() for row in rows)
