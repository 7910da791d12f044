"""The admin API as a whole: who gets in, how errors are told, and that no input makes it fail."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from evertunnel import __version__
from evertunnel.web.api.app import _NOUNS
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.web.api.clients import ADMINISTRATOR, build_client


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    """An administrator; there are Alice, her laptop and a group."""
    with build_client(installation) as client:
        for path, name in (("users", ALICE), ("devices", LAPTOP), ("groups", "VPN/Staff")):
            assert client.post(f"/v1/{path}", json={"name": name}).status_code == 201
        yield client


@pytest.mark.parametrize("user_id", [None, 0, ADMINISTRATOR + 1, -1])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/users"), ("POST", "/v1/denials"), ("GET", "/openapi.json"), ("GET", "/nothing")]
)
def test_whoever_is_no_administrator_gets_nothing_not_even_that_a_route_exists(
    installation: Installation, user_id: int | None, method: str, path: str
) -> None:
    with build_client(installation, user_id) as client:
        answer = client.request(method, path)
    assert (answer.status_code, answer.json()["title"]) == (403, "Only administrators may use this socket.")


def test_changes_are_recorded_under_the_callers_name(installation: Installation, client: TestClient) -> None:
    actors = {row["actor"] for row in client.get("/v1/audit").json() if row["name"] == "user:add"}
    assert actors == {f"user {ADMINISTRATOR}"}


def test_errors_are_problems_with_one_line(client: TestClient) -> None:
    cases = [
        (client.post("/v1/users", json={"name": ALICE}), 409),
        (client.post("/v1/users", json={"name": "nobody"}), 422),
        (client.patch("/v1/users/nobody@x.y", json={"enabled": False}), 404),
        (client.post("/v1/users", json={"nam": "x"}), 422),
        (client.post("/v1/users", content=b"{"), 422),
    ]
    for answer, status in cases:
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        body = answer.json()
        assert set(body) == {"title", "status"} and body["status"] == status and "\n" not in body["title"]


def test_a_wrong_field_is_named(client: TestClient) -> None:
    answer = client.post("/v1/users", json={"name": "a@x.y", "admin": True})
    assert answer.json()["title"].startswith("admin: ")


def test_a_gateway_on_another_host_is_not_added_where_nobody_waits_for_its_agent(client: TestClient) -> None:
    body = {
        "name": "gw2",
        "public_name": "vpn2.example.com",
        "radius_address": "192.0.2.2",
        "server_address": "192.0.2.1",
        "device_pool": "10.32.0.0/20",
        "user_pool": "10.33.0.0/20",
        "device_networks": ["10.20.0.10/32"],
        "user_networks": ["10.20.0.0/16"],
    }
    answer = client.post("/v1/gateways", json=body)
    assert (answer.status_code, "set `agents` in [listen]" in answer.json()["title"]) == (422, True)
    assert client.get("/v1/gateways").json() == []


def test_the_version_is_told_to_administrators(client: TestClient) -> None:
    assert client.get("/openapi.json").json()["info"]["version"] == __version__


def list_operations() -> list[tuple[str, str]]:
    schema = FastAPI(routes=[route for noun in _NOUNS for route in noun.router.routes]).openapi()
    return sorted((method.upper(), path) for path, methods in schema["paths"].items() for method in methods)


OPERATIONS = list_operations()
TEXT = st.text(min_size=1, max_size=20) | st.sampled_from(
    [
        ALICE,
        LAPTOP,
        "VPN/Staff",
        "user",
        "device",
        "group",
        "..",
        ".",
        "%",
        "a/b",
        "'",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "null",
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["name", "kind", "reason", "until", "revoke", "enabled", "password", "display_name", "compliant", "life_seconds",
     "owner", "csr", "lifetime_seconds", "document", "position", "state", "public_name", "device_pool", "user_pool",
     "device_networks", "user_networks", "dns", "permission", "conditions"]
)  # fmt: skip
BODIES = VALUES | st.dictionaries(FIELDS, VALUES, max_size=6) | st.sampled_from(
    [
        {"kind": "group", "name": "VPN/Staff", "reason": "x"},
        {"kind": "user", "name": ALICE, "reason": "x", "until": "2026-05-05T00:00:00"},
        {"kind": "user", "name": ALICE, "reason": "x", "until": "9999-12-31T23:59:59-23:59"},
        {"compliant": True, "life_seconds": 10**30},
        {"name": "n", "document": {"permission": "grant"}, "position": 10**30},
        {"name": "n", "document": {"permission": "grant"}, "position": -(10**30)},
        {"kind": "user", "owner": ALICE, "csr": "x" * 100_000},
        {"displayName": "x", "description": 10**30},
        {"name": "x" * 100_000},
    ]
)  # fmt: skip


def test_every_route_is_tried() -> None:
    assert len(OPERATIONS) >= 30


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=600)
@given(operation=st.sampled_from(OPERATIONS), data=st.data())
def test_no_input_makes_the_api_fail(client: TestClient, operation: tuple[str, str], data: st.DataObject) -> None:
    method, path = operation
    while "{" in path:
        begin, _, rest = path.partition("{")
        path = begin + quote(data.draw(TEXT), safe="") + rest.partition("}")[2]
    query = data.draw(st.dictionaries(st.sampled_from(["limit", "user", "reason", "outcome", "expect", "live"]), TEXT))
    body = data.draw(BODIES) if method in ("POST", "PATCH", "PUT") else None
    # Python's own JSON, with the numbers and halves of characters it lets through.
    content = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    answer = client.request(method, path, params=query, content=content, headers=headers)
    event(str(answer.status_code))
    assert answer.status_code < 500, (method, path, body, answer.text)


def test_a_group_with_a_slash_is_renamed_and_removed(client: TestClient) -> None:
    assert client.put(f"/v1/groups/{quote('VPN/Staff')}/members/user/{ALICE}").status_code == 204
    assert client.post(f"/v1/groups/{quote('VPN/Staff')}/renames", json={"name": "VPN/All"}).status_code == 204
    assert [row["name"] for row in client.get("/v1/groups").json()] == ["VPN/All"]
    assert client.delete(f"/v1/groups/{quote('VPN/Staff')}").status_code == 404
    assert client.delete(f"/v1/groups/{quote('VPN/All')}").status_code == 204
    assert client.get("/v1/groups").json() == []
    assert client.get("/v1/users").json()[0]["name"] == ALICE


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/policies/locations/import", {"files": [{"name": "\ud800", "data": "x"}]}),
        ("/v1/policies/tests/run", {"files": [{"name": "\ud800", "data": "x"}]}),
        ("/v1/profiles", {"name": "\ud800", "tunnel": "user", "gateway": "gw1"}),
        ("/v1/certificates", {"kind": "user", "owner": ALICE, "csr": "\ud800"}),
    ],
)
def test_half_a_character_is_a_problem_of_who_sends_it(client: TestClient, path: str, body: Any) -> None:
    # Its escapes are ASCII, and so nothing refuses the bytes.
    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"]
