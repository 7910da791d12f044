"""What if, over the API: our own question, Graph's, and a replay."""

from typing import Any

import pytest

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import import_access_policies
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document
from tests.unit.web.api.clients import build_client


@pytest.fixture
def office(installation: Installation) -> Installation:
    installation.add_user()
    installation.add_device()
    installation.do(assign_device, LAPTOP, ALICE)
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    risky = make_document("block", name="Risk")
    risky["conditions"]["signInRiskLevels"] = ["high"]
    other = make_document("mfa", name="Mail", applications={"includeApplications": ["office365"]})
    installation.do(import_access_policies, [make_document("compliantDevice", name="Compliant"), risky, other])
    return installation


def ask(installation: Installation, path: str, body: Any, *, status: int = 200) -> Any:
    with build_client(installation) as client:
        answer = client.post(f"/v1/policies/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_answer_says_what_decides_and_what_is_missing(office: Installation) -> None:
    found = ask(office, "what-if", {"user": ALICE, "device": LAPTOP, "sign_in_risk": "none"})
    assert (found["outcome"], found["reason"]) == ("refused", "device_not_compliant")
    assert (found["access"]["error_code"], found["access"]["missing"]) == (53000, ["compliantDevice"])
    results = {row["policy"]: (row["result"], row["condition"]) for row in found["access"]["policies"]}
    assert results["Risk"] == ("notApplied", "signInRisk")
    assert results["Mail"] == ("notApplied", "application")
    assert found["cause"]
    assert found["fix"]


def test_what_is_supposed_decides(office: Installation) -> None:
    body = {"user": ALICE, "device": LAPTOP, "compliant": True, "sign_in_risk": "high"}
    assert ask(office, "what-if", body)["reason"] == "blocked_by_access_policy"
    assert ask(office, "what-if", body | {"sign_in_risk": "low"})["outcome"] == "granted"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"user": "nobody"}, 404),
        ({"user": ALICE, "colour": "red"}, 422),
        ({"user": 7}, 422),
        ({"user": ALICE, "platform": "Windows"}, 422),
        ({"user": ALICE, "sign_in_risk": "HIGH"}, 422),
        ({"user": ALICE, "signed_in_at": "2026-05-04T12:00:00"}, 422),
        ({"user": ALICE, "methods": ["horoscope"]}, 422),
        ({"user": ALICE, "address": "home"}, 422),
        ({"user": ALICE, "tunnel": None, "certificate": "device"}, 422),
        ({"user": ALICE, "device_properties": {"modell": "X"}}, 422),
        ({"user": ALICE, "device_properties": {"isCompliant": True}}, 422),
        ({"user": ALICE, "device_properties": {"model": 7}}, 422),
    ],
)
def test_a_wrong_question_is_a_line_of_text(office: Installation, body: Any, status: int) -> None:
    assert ask(office, "what-if", body, status=status)["title"]


@pytest.mark.parametrize(
    ("country", "title"),
    [
        ("de", "country: 'de' is the code of no country: write DE"),
        ("UK", "country: 'UK' is the code of no country: write GB"),
        ("QQ", "country: 'QQ' is the code of no country: write two capitals such as FR (ISO 3166-1)"),
    ],
)
def test_a_country_that_does_not_exist_is_not_taken_for_another_one(
    office: Installation, country: str, title: str
) -> None:
    assert ask(office, "what-if", {"user": ALICE, "country": country}, status=422)["title"] == title
    request = make_request(country=country)
    assert title.partition(": ")[2] in ask(office, "access/evaluate", request, status=422)["title"]


def make_request(**conditions: Any) -> dict[str, Any]:
    return {
        "signInIdentity": {"@odata.type": "#microsoft.graph.userSignIn", "userId": ALICE},
        "signInContext": {"@odata.type": "#microsoft.graph.applicationContext", "includeApplications": ["VPN"]},
        "signInConditions": conditions,
    }


def test_graphs_question_gets_graphs_answer(office: Installation) -> None:
    found = ask(office, "access/evaluate", make_request(signInRiskLevel="high", deviceInfo={"isCompliant": True}))
    told = {each["displayName"]: (each["policyApplies"], each["analysisReasons"]) for each in found["value"]}
    assert told == {"Compliant": (True, "notSet"), "Risk": (True, "notSet"), "Mail": (False, "application")}
    assert all("grantControls" in each for each in found["value"])


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ({"model": "Toaster", "ownership": "Personal"}, "notSet"),
        ({"model": "Latitude", "ownership": "Personal"}, "devices"),
        ({"model": "Toaster"}, "notEnoughInformation"),
        ({"model": "Toaster", "ownership": None}, "notEnoughInformation"),
        (None, "notEnoughInformation"),
    ],
)
@pytest.mark.parametrize("extension", [{}, {"evertunnel": {"leastSource": "mdm"}}])
def test_graphs_question_describes_a_device(office: Installation, device: Any, reason: str, extension: Any) -> None:
    rule = 'device.model -eq "Toaster" -and device.deviceOwnership -eq "Personal"'
    policy = make_document("block", name="Toasters") | extension
    policy["conditions"]["devices"] = {"deviceFilter": {"mode": "include", "rule": rule}}
    office.do(import_access_policies, policy)
    found = ask(office, "access/evaluate", make_request(signInRiskLevel="none", deviceInfo=device))
    assert {each["displayName"]: each["analysisReasons"] for each in found["value"]}["Toasters"] == reason


def test_graphs_question_names_applications_by_the_ids_that_policies_were_imported_with(office: Installation) -> None:
    ours, theirs = "C1A9D2BE-90d7-4a86-b0a5-5d3f1d110003", "5e0b7a31-1b9a-44ae-9c55-0f6f4a2e0004"
    policies = [
        make_document("block", name="Ours", applications={"includeApplications": [ours]}),
        make_document("block", name="Theirs", applications={"includeApplications": [theirs]}),
    ]
    body = {"files": [{"name": "f", "data": policies}], "map": {ours: "VPN", theirs: "Payroll"}}
    ask(office, "access/import", body)
    for text, applies in ((ours.lower(), "Ours"), (theirs, "Theirs"), ("VPN", "Ours")):
        request = make_request(signInRiskLevel="none") | {"signInContext": {"includeApplications": [text]}}
        found = {
            each["displayName"]: each["policyApplies"] for each in ask(office, "access/evaluate", request)["value"]
        }
        assert [name for name in ("Ours", "Theirs") if found[name]] == [applies], text


def test_graphs_question_about_policies_that_apply_alone(office: Installation) -> None:
    request = make_request(signInRiskLevel="none") | {"appliedPoliciesOnly": True}
    assert [each["displayName"] for each in ask(office, "access/evaluate", request)["value"]] == ["Compliant"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"signInIdentity": {"@odata.type": "#microsoft.graph.servicePrincipalSignIn"}}, "$.signInIdentity"),
        ({"signInContext": {"includeApplications": []}}, "$.signInContext.includeApplications"),
        ({"signInConditions": {"weather": "rain"}}, "$.signInConditions.weather"),
        ({"signInConditions": {"devicePlatform": "amiga"}}, "$.signInConditions.devicePlatform"),
        ({"signInConditions": {"deviceInfo": {"isCompliant": "yes"}}}, "$.signInConditions.deviceInfo.isCompliant"),
        ({"signInIdentity": 7}, "$.signInIdentity"),
        ({"signInIdentity": {"userId": ALICE, "externalUserType": "internalGuest"}}, "$.signInIdentity.external"),
        ({"signInConditions": {"deviceInfo": {"modell": "X"}}}, "$.signInConditions.deviceInfo.modell"),
        ({"signInConditions": {"ipAddress": "home"}}, "$.signInConditions.ipAddress"),
        ({"signInConditions": {"country": "Germany"}}, "$.signInConditions.country"),
        ({"signInConditions": {"authenticationFlow": {"transferMethod": "owl"}}}, "$.signInConditions.authentication"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_its_place(office: Installation, change: Any, place: str) -> None:
    title = ask(office, "access/evaluate", make_request() | change, status=422)["title"]
    assert title.startswith(place)


def test_a_replay_over_nothing(office: Installation) -> None:
    found = ask(office, "access/replay", {"states": {"Compliant": "off"}})
    assert found == {"looked_at": 0, "skipped": 0, "after": None, "differences": []}
    assert ask(office, "access/replay", {"files": [{"name": "a.json", "data": [{}]}]}, status=422)["title"].startswith(
        "a.json"
    )
