"""The switch of MS-CHAPv2 over the admin API."""

from typing import Any

from starlette.testclient import TestClient

from evertunnel.model import SubjectKind
from evertunnel.protocols.eap.mschapv2_keys import hash_password_nt
from evertunnel.storage.people import get_subject
from evertunnel.storage.switches import nt_hash_context
from tests.installation import ALICE, Installation
from tests.unit.web.api.clients import build_client

PASSWORD = "alice's own password"


def find_row(installation: Installation) -> Any:
    with installation.store.read() as connection:
        return get_subject(connection, SubjectKind.USER, ALICE)


def add_alice(client: TestClient) -> None:
    assert client.post("/v1/users", json={"name": ALICE, "password": PASSWORD}).status_code == 201


def test_it_is_off_and_keeps_nothing(installation: Installation) -> None:
    with build_client(installation) as client:
        add_alice(client)
        assert client.get("/v1/mschapv2").json() == {"on": False, "since": None, "by": None, "nt_hashes": 0}
    assert find_row(installation).nt_hash_sealed is None


def test_on_after_its_weakness_was_accepted_it_keeps_sealed_hashes_and_off_none(installation: Installation) -> None:
    with build_client(installation) as client:
        refused = client.patch("/v1/mschapv2", json={"on": True})
        assert (refused.status_code, "MS-CHAPv2 is weak" in refused.json()["title"]) == (422, True)
        assert client.patch("/v1/mschapv2", json={"on": True, "weakness_accepted": True}).status_code == 200
        add_alice(client)
        found = client.get("/v1/mschapv2").json()
        assert (found["on"], found["nt_hashes"]) == (True, 1)
        row = find_row(installation)
        assert hash_password_nt(PASSWORD) not in row.nt_hash_sealed
        opened = installation.keystore.unseal(row.nt_hash_sealed, context=nt_hash_context(row.id))
        assert opened == hash_password_nt(PASSWORD)
        (user,) = client.get("/v1/users").json()
        assert (user["mschapv2"], user["password_expired"]) == (True, False)
        assert client.patch(f"/v1/users/{ALICE}", json={"expire_password": True}).status_code == 204
        assert client.get("/v1/users").json()[0]["password_expired"]
        assert client.patch("/v1/mschapv2", json={"on": False}).json() == {"erased": 1}
        names = [row["name"] for row in client.get("/v1/audit").json()]
    assert find_row(installation).nt_hash_sealed is None
    assert {"mschapv2:on", "mschapv2:off"} <= set(names)


def test_a_policy_that_allows_it_is_listed_as_weak(installation: Installation) -> None:
    document = {"permission": "grant", "settings": {"authentication_methods": ["eap-mschapv2"]}}
    with build_client(installation) as client:
        assert client.post("/v1/policies/network", json={"name": "Weak", "document": document}).status_code == 201
        (policy,) = client.get("/v1/policies/network").json()
    assert policy["weakness"] == "weak: MS-CHAPv2"
