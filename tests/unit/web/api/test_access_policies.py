"""Conditional access policies, locations and strengths over the API: errors in full, ids in paths."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from evertunnel.cli.client import _build_url
from tests.installation import ALICE, Installation
from tests.unit.access.samples import make_document
from tests.unit.web.api.clients import build_client


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    with build_client(installation) as client:
        yield client


def test_all_that_is_wrong_comes_in_one_answer(client: TestClient) -> None:
    users = {"includeUsers": ["nobody@corp.example"], "excludeGroups": ["no group"]}
    files = [{"name": "a.json", "data": make_document("block", users=users)}]
    answer = client.post("/v1/policies/access/import", json={"files": files})
    assert answer.status_code == 422
    assert [problem["place"] for problem in answer.json()["problems"]] == [
        "a.json: $.conditions.users.includeUsers[0]",
        "a.json: $.conditions.users.excludeGroups[0]",
    ]
    one = client.post("/v1/policies/access", json=make_document("block", users={"includeUsers": ["x"]}))
    assert set(one.json()) == {"title", "status"}
    assert one.json()["title"].startswith("$.conditions.users.includeUsers[0]: there is no user 'x'")


def test_a_check_changes_nothing(client: TestClient) -> None:
    files = [{"name": "", "data": make_document("block", name="a")}]
    (planned,) = client.post("/v1/policies/access/import", json={"files": files, "check": True}).json()
    assert (planned["name"], planned["state"], planned["unevaluable"]) == ("a", "enabled", [])
    assert client.get("/v1/policies/access").json() == []
    client.post("/v1/policies/access/import", json={"files": files})
    assert [row["name"] for row in client.get("/v1/policies/access").json()] == ["a"]


@pytest.mark.parametrize(("country", "told"), [("", False), ("DE", False), (None, True)])
def test_an_import_says_that_no_country_is_known_where_the_file_cannot_be_read(
    installation: Installation, country: str | None, *, told: bool
) -> None:
    document = make_document("block", name="Abroad")
    document["conditions"]["locations"] = {"includeLocations": ["All"], "excludeLocations": ["Germany"]}
    files = {"files": [{"name": "", "data": document}], "check": True}
    with build_client(installation, find_country=lambda _address: country) as client:
        client.post("/v1/policies/locations", json={"name": "Germany", "countries": ["DE"]})
        (planned,) = client.post("/v1/policies/access/import", json=files).json()
    assert ["$.conditions.locations"] * told == [each["path"] for each in planned["unevaluable"]]


@pytest.mark.parametrize("name", ["Office", "a/b", "import", "x?y", "..x", "..", "."])
def test_a_location_may_be_called_anything(client: TestClient, name: str) -> None:
    body = {"name": name, "ranges": ["192.0.2.0/24"]}
    assert client.post("/v1/policies/locations", json=body).json()["added"] == [name]
    path = _build_url(("policies", "locations", name))
    assert client.get(path).json()["name"] == name
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_strengths_that_are_built_in_are_shown_as_graph_writes_them(client: TestClient) -> None:
    row = client.get("/v1/policies/strengths/00000000-0000-0000-0000-000000000004").json()
    assert row == client.get("/v1/policies/strengths/Phishing-resistant%20MFA").json()
    assert row["document"]["allowedCombinations"] == ["windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor"]
    assert client.delete("/v1/policies/strengths/Phishing-resistant%20MFA").status_code == 404


@pytest.mark.parametrize(("address", "result"), [("192.0.2.7", "notApplied"), ("198.51.100.7", "failure")])
def test_what_if_looks_up_the_country_of_an_address(installation: Installation, address: str, result: str) -> None:
    installation.add_user()
    countries = {"192.0.2.7": "DE", "198.51.100.7": "KP"}
    with build_client(installation, find_country=lambda found: countries.get(str(found), "")) as client:
        body = {"template": "block-countries", "countries": ["KP"], "on": True}
        assert client.post("/v1/policies/access/templates", json=body).status_code == 201
        asked = {"user": ALICE, "address": address}
        answer = client.post("/v1/policies/what-if", json=asked).json()
        assert f"'{result}'" in str(answer)
        supposed = client.post("/v1/policies/what-if", json={**asked, "country": "DE"}).json()
        assert "'notApplied'" in str(supposed)
