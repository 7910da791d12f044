"""Self-tests of policies and their history, over the API."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from evertunnel.access.policy_tests import TESTS_AT_MOST
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import import_access_policies
from tests.installation import ALICE, Installation
from tests.unit.access.samples import make_document
from tests.unit.web.api.clients import build_client

TEST = {"name": "Alice", "user": ALICE, "expect": "block", "policy": "Block"}


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    installation.add_user()
    installation.do(add_network_policy, "All", {"permission": "grant"})
    installation.do(import_access_policies, make_document("block", name="Block"))
    with build_client(installation) as made:
        yield made


def save(client: TestClient, *tests: Any, replace: bool = False, status: int = 200) -> Any:
    body = {"files": [{"name": "t.json", "data": list(tests)}], "replace": replace}
    answer = client.post("/v1/policies/tests/import", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_test_is_kept_found_in_any_case_replaced_and_removed(client: TestClient) -> None:
    assert save(client, TEST) == {"added": ["Alice"], "replaced": []}
    assert client.get("/v1/policies/tests/ALICE").json()["document"] == TEST
    assert "see --replace" in save(client, TEST, status=422)["title"]
    assert save(client, {**TEST, "name": "alice", "policy": None}, replace=True)["replaced"] == ["alice"]
    assert client.delete("/v1/policies/tests/alice").status_code == 204
    assert client.get("/v1/policies/tests").json() == []
    assert client.delete("/v1/policies/tests/alice").status_code == 404


def test_everything_wrong_with_an_import_is_said_and_nothing_is_kept(client: TestClient) -> None:
    found = save(client, TEST, {**TEST, "name": "ALICE"}, {**TEST, "name": "x", "user": "nobody"}, [], status=422)
    assert [(each["place"], each["problem"]) for each in found["problems"]] == [
        ("t.json: $[1].name", "'ALICE' is twice in what is imported"),
        ("t.json: $[2].user", "there is no user 'nobody'"),
        ("t.json: $[3]", "must be an object"),
    ]
    assert client.get("/v1/policies/tests").json() == []


def test_a_test_that_fails_as_policies_are_is_not_kept(client: TestClient) -> None:
    found = save(client, {**TEST, "expect": "grant", "policy": None}, status=422)
    assert "expected grant, got block (blocked_by_access_policy)" in found["title"]
    save(client, TEST)
    save(client, {**TEST, "expect": "grant", "policy": None}, replace=True, status=422)
    assert client.get("/v1/policies/tests").json()[0]["document"] == TEST


def test_there_are_only_so_many(client: TestClient) -> None:
    many = [{**TEST, "name": f"{number}"} for number in range(TESTS_AT_MOST + 1)]
    assert "at most" in save(client, *many, status=422)["title"]
    save(client, *many[1:])
    assert "at most" in save(client, many[0], status=422)["title"]
    assert len(client.get("/v1/policies/tests").json()) == TESTS_AT_MOST


def test_a_change_is_refused_with_every_failing_test_and_what_helps(client: TestClient) -> None:
    save(client, TEST, {**TEST, "name": "Alice again"})
    answer = client.patch("/v1/policies/access/Block", json={"state": "off"})
    assert answer.status_code == 422
    assert [each["place"] for each in answer.json()["problems"]] == ["policy test 'Alice'", "policy test 'Alice again'"]
    assert "policy test remove" in answer.json()["mend"]
    assert client.delete("/v1/policies/access/Block").status_code == 422
    assert client.get("/v1/policies/access").json()[0]["document"]["state"] == "enabled"


def test_a_result_says_what_decided(client: TestClient) -> None:
    save(client, TEST)
    found = client.post("/v1/policies/tests/run", json={}).json()
    assert (found["passed"], found["failed"]) == (1, 0)
    assert found["results"][0]["deciding"][0] == {
        "policy": "Block", "kind": "conditional access", "result": "failure", "condition": "",
        "detail": "blocks access",
    }  # fmt: skip
    draft = {"files": [{"name": "", "data": {**TEST, "policy": "All"}}]}
    found = client.post("/v1/policies/tests/run", json=draft).json()
    assert found["results"][0]["problem"] == "expected block by 'All', but not by that one"
    assert client.post("/v1/policies/tests/run", json={"names": ["nothing"]}).status_code == 404


def test_history_diff_and_rollback(client: TestClient) -> None:
    client.patch("/v1/policies/access/Block", json={"state": "off"})
    history = client.get("/v1/policies/history", params={"name": "Block"}).json()
    assert [(row["version"], row["change"], row["kind"]) for row in history] == [
        (2, "switched to off", "access"), (1, "imported", "access"),
    ]  # fmt: skip
    assert [row["name"] for row in client.get("/v1/policies/history", params={"kind": "network"}).json()] == ["All"]
    found = client.get("/v1/policies/diff", params={"name": "Block", "from": 1}).json()
    assert (found["from"]["version"], found["to"]["version"]) == (1, 2)
    assert found["to_document"]["state"] == "disabled" and '-  "state": "enabled"' in found["lines"]
    save(client, {**TEST, "expect": "grant", "policy": None})
    answer = client.post("/v1/policies/rollback", json={"name": "Block", "to": 1})
    assert answer.status_code == 422 and "policy test 'Alice'" in answer.json()["title"]
    client.delete("/v1/policies/tests/Alice")
    answer = client.post("/v1/policies/rollback", json={"name": "Block", "to": 1, "kind": "access"})
    assert answer.json() == {"kind": "access", "name": "Block", "to": 1, "added": False}
    for params, status in (
        ({"name": "x"}, 404),
        ({"name": "Block", "from": 9}, 404),
        ({"name": "Block", "kind": "x"}, 422),
    ):
        assert client.get("/v1/policies/diff", params=params).status_code == status
    assert client.get("/v1/policies/history", params={"limit": 0}).status_code == 422
