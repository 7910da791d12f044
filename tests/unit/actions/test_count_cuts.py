"""A change of policies that would end many live sessions is not made before somebody says that it is meant."""

from typing import Any

import orjson
import pytest
from sqlalchemy import update

from evertunnel.actions.add_user import add_user
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_compliance_policies import import_compliance_policies
from evertunnel.actions.change_membership import join_group
from evertunnel.actions.change_network_policies import add_network_policy, switch_network_policy
from evertunnel.actions.count_cuts import Cuts, count_cuts, verify_cuts
from evertunnel.actions.decide import Decider
from evertunnel.actions.import_access_policies import import_access_policies, switch_access_policy
from evertunnel.actions.import_facts import import_facts
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.errors import ConfirmationNeededError, NotFoundError
from evertunnel.model import CertificateKind, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import people, sessions, tables
from evertunnel.storage.store import Store
from tests.installation import ADMIN, Installation
from tests.unit.access.samples import make_document
from tests.unit.web.api.clients import build_client

SALES = 6
OTHERS = 4


@pytest.fixture
def office(installation: Installation) -> Installation:
    """Ten live sessions of ten people, six of them of the group Sales."""
    gateway_id = installation.add_gateway()
    installation.add_group("Sales")
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    made = []
    for number in range(SALES + OTHERS):
        name = f"u{number}@corp.example"
        user_id = installation.do(add_user, name, password=None)
        if number < SALES:
            installation.do(join_group, "Sales", SubjectKind.USER, name)
        certificate_id = installation.issue(CertificateKind.USER, name, user_id=user_id).id
        made.append(
            Session(
                f"s{number}", TunnelKind.USER, SessionState.UP, gateway_id, number, installation.now,
                user_id=user_id, certificate_id=certificate_id, spis=f"{number}_{number}",
            )
        )  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, made)
    document = make_document("block", name="Block sales", state="disabled", users={"includeGroups": ["Sales"]})
    installation.do(import_access_policies, document)
    return installation


def count(installation: Installation, action: Any, *arguments: Any, **options: Any) -> Cuts:
    def change(store: Store) -> None:
        action(store, *arguments, actor=ADMIN, now=installation.now, **options)

    return count_cuts(installation.store, change, Decider(), now=installation.now)


def test_who_would_be_cut_is_counted_and_nothing_is_changed(office: Installation) -> None:
    assert count(office, switch_access_policy, "Block sales", "on") == Cuts(SALES + OTHERS, SALES)
    assert count(office, switch_access_policy, "Block sales", "report-only") == Cuts(SALES + OTHERS, 0)
    assert count(office, switch_network_policy, "everything", enabled=False).ended == SALES + OTHERS
    office.refresh()
    assert count(office, switch_access_policy, "Block sales", "on").ended == SALES, "still"


def test_the_first_policy_about_countries_is_counted_with_the_countries_known(office: Installation) -> None:
    block = make_document("block", name="All but Germany")
    block["conditions"]["locations"] = {"includeLocations": ["All"], "excludeLocations": ["Germany"]}
    office.do(add_named_location, "Germany", countries=["DE"])
    with office.store.write(office.now) as tx:
        tx.connection.execute(update(tables.sessions).values(remote_address="192.0.2.7"))

    def change(store: Store) -> None:
        import_access_policies(store, block, actor=ADMIN, now=office.now)

    decider = Decider(lambda _address: "DE", always=True)
    assert count_cuts(office.store, change, decider, now=office.now).ended == 0


def test_who_is_refused_already_is_not_counted_again(office: Installation) -> None:
    office.do(switch_access_policy, "Block sales", "on")
    assert count(office, switch_network_policy, "everything", enabled=False).ended == OTHERS


def test_a_little_more_than_the_share_is_more() -> None:
    assert [Cuts(1000, ended).percent for ended in (0, 200, 201, 1000)] == [0, 20, 21, 100]
    assert Cuts(0, 0).percent == 0


@pytest.mark.parametrize(("at_most_percent", "asks"), [(20, True), (59, True), (60, False), (100, False)])
def test_it_asks_above_the_share(office: Installation, at_most_percent: int, asks: bool) -> None:
    def change(store: Store) -> None:
        switch_access_policy(store, "Block sales", "on", actor=ADMIN, now=office.now)

    def verify() -> None:
        verify_cuts(office.store, change, Decider(), at_most_percent=at_most_percent, now=office.now)

    if asks:
        with pytest.raises(ConfirmationNeededError, match=r"6 of 10 live sessions at once \(60 %"):
            verify()
    else:
        verify()


def test_a_change_that_cannot_be_made_says_so_instead(office: Installation) -> None:
    with pytest.raises(NotFoundError):
        count(office, switch_access_policy, "nobody", "on")


def test_over_the_api_it_is_made_only_when_confirmed(office: Installation) -> None:
    def read_state() -> str:
        (policy,) = client.get("/v1/policies/access").json()
        return str(policy["document"]["state"])

    with build_client(office) as client:
        for path, body in (
            ("access/Block sales", {"state": "on"}),
            ("network/everything", {"enabled": False}),
        ):
            answer = client.patch(f"/v1/policies/{path}", json=body)
            assert answer.status_code == 409
            assert "--cut" in answer.json()["title"]
        denied = {"name": "everything", "changes": {"permission": "deny"}}
        assert client.post("/v1/policies/network/change", json=denied).status_code == 409
        file = client.get("/v1/policies/exports/network").json() | {"policies": []}
        body = {"data": file, "replace": True}
        assert client.post("/v1/policies/network/import", json=body).status_code == 409
        checked = client.post("/v1/policies/network/import", json=body | {"check": True}).json()
        assert (checked["removed"], checked["live"], checked["ended"]) == (["everything"], 10, 10)
        assert client.delete("/v1/policies/network/everything").status_code == 409
        assert client.post("/v1/policies/usual").status_code == 409, "it demands a compliant device of everybody"
        denies = {"name": "Nobody", "document": {"permission": "deny"}, "position": 1}
        assert client.post("/v1/policies/network", json=denies).status_code == 409
        block = make_document("block", name="Everybody")
        assert client.post("/v1/policies/access", json=block).status_code == 409
        files = {"files": [{"name": "f", "data": block}]}
        assert client.post("/v1/policies/access/import", json=files).status_code == 409
        assert read_state() == "disabled"
        answer = client.patch("/v1/policies/access/Block sales", params={"confirmed": True}, json={"state": "on"})
        assert answer.status_code == 204
        assert read_state() == "enabled"


def test_removing_a_trusted_location_asks_where_the_risk_of_sign_ins_hangs_on_it(office: Installation) -> None:
    office.do(add_named_location, "Office", ranges=["192.0.2.0/24"], trusted=True)
    with office.store.write(office.now) as tx:
        tx.connection.execute(update(tables.sessions).values(remote_address="192.0.2.7"))
    risky = make_document("block", name="Risky")
    risky["conditions"]["signInRiskLevels"] = ["high"]
    with build_client(office) as client:
        assert client.post("/v1/policies/access", json=risky).status_code == 201, "nobody's risk is high"
        answer = client.delete("/v1/policies/locations/Office")
        assert answer.status_code == 409
        assert "10 of 10 live sessions" in answer.json()["title"]
        assert len(client.get("/v1/policies/locations").json()) == 1
        assert client.delete("/v1/policies/locations/Office", params={"confirmed": True}).status_code == 204


@pytest.fixture
def fleet(office: Installation) -> Installation:
    """Everybody's tunnel rests on the device: ten laptops whose posture is good, and a policy that demands it."""
    rows = []
    for number in range(SALES + OTHERS):
        name, device = f"u{number}@corp.example", f"laptop{number}.corp.example"
        device_id = office.add_device(device)
        office.do(assign_device, device, name)
        rows += [
            {"device": device, "fact": "operatingSystem", "value": "Linux"},
            {"device": device, "fact": "disk_encryption", "value": "true"},
        ]
        with office.store.read() as connection:
            user_id = people.get_subject(connection, SubjectKind.USER, name).id
        issued = office.issue(CertificateKind.SHORT_LIVED, name, user_id=user_id, device_id=device_id)
        with office.store.write(office.now) as tx:
            mine = tables.sessions.c.user_id == user_id
            tx.connection.execute(
                update(tables.sessions).where(mine).values(certificate_id=issued.id, device_id=device_id)
            )
    office.do(import_compliance_policies, {"platform": "linux", "rules": {"diskEncryption": True}})
    office.do(import_facts, orjson.dumps(rows), source="mdm")
    office.do(import_access_policies, make_document("compliantDevice", name="Compliant"))
    return office


def test_a_stricter_compliance_policy_a_broken_export_and_a_group_ask_first(fleet: Installation) -> None:
    stricter = {"platform": "linux", "rules": {"diskEncryption": True, "firewall": True}}
    export = [
        {"device": f"laptop{number}.corp.example", "fact": "disk_encryption", "value": "false"} for number in range(10)
    ]
    fleet.add_group("Field")
    fleet.do(join_group, "Sales", SubjectKind.GROUP, "Field")
    for number in range(SALES, SALES + OTHERS):
        fleet.do(join_group, "Field", SubjectKind.USER, f"u{number}@corp.example")
    fleet.add_group("Blocked")
    block = make_document("block", name="Block", users={"includeGroups": ["Blocked"]})
    fleet.do(import_access_policies, block)
    with build_client(fleet) as client:
        for ask in (
            lambda **query: client.post("/v1/compliance", json=stricter, params=query),
            lambda **query: client.delete("/v1/compliance/linux", params=query),
            lambda **query: client.post(
                "/v1/facts/imports", content=orjson.dumps(export), params={"source": "mdm", **query}
            ),
            lambda **query: client.put("/v1/groups/Blocked/members/group/Sales", params=query),
        ):
            answer = ask()
            assert answer.status_code == 409, answer.text
            assert "10 of 10 live sessions" in answer.json()["title"]
        (policy,) = client.get("/v1/compliance").json()
        assert policy["document"]["rules"] == {"diskEncryption": True}
        assert client.put("/v1/groups/Blocked/members/user/u1@corp.example").status_code == 204, "one is no mass"
        assert client.post("/v1/compliance", json=stricter, params={"confirmed": True}).json()["changed"] == 10
        answer = client.delete("/v1/compliance/linux")
        assert answer.status_code == 204, "all are refused already"


def test_rolling_a_compliance_policy_back_asks_as_importing_it_does(fleet: Installation) -> None:
    stricter = {"platform": "linux", "rules": {"diskEncryption": True, "firewall": True}}
    lenient = {"platform": "linux", "rules": {"diskEncryption": True}}
    body = {"name": "linux", "to": 2, "kind": "compliance"}
    with build_client(fleet) as client:
        for document in (stricter, lenient):
            assert client.post("/v1/compliance", json=document, params={"confirmed": True}).status_code == 201
        answer = client.post("/v1/policies/rollback", json=body)
        assert answer.status_code == 409
        assert "10 of 10 live sessions" in answer.json()["title"]
        assert client.post("/v1/policies/rollback", json=body, params={"confirmed": True}).status_code == 200


def test_an_export_that_changes_little_asks_nobody(fleet: Installation) -> None:
    export = [
        {"device": f"laptop{number}.corp.example", "fact": "disk_encryption", "value": "false"} for number in (1, 2)
    ]
    with build_client(fleet) as client:
        answer = client.post("/v1/facts/imports", content=orjson.dumps(export), params={"source": "mdm"})
        assert (answer.status_code, answer.json()["changed"]) == (201, 2)
