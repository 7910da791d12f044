"""Reading conditional access policies: what Graph writes is taken, what is wrong is refused at its place."""

import copy
from typing import Any

import pytest

from evertunnel.access.conditional.evaluation import evaluate_access_policies
from evertunnel.access.conditional.policies import (
    State,
    compile_access_policy,
    list_references,
    list_unevaluable,
    list_without_meaning,
)
from evertunnel.access.decision import build_sign_in
from evertunnel.access.documents import PolicyError
from tests.unit.access.samples import make_document, make_facts

RESOLVED = {"alice@corp.example": "u1", "Sales": "g1", "bob@corp.example": "u2"}

# As Graph v1.0 answers, every unset property included.
EXPORTED: dict[str, Any] = {
    "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#policies/conditionalAccessPolicies/$entity",
    "id": "10ef4fe6-5e51-4f5e-b5a2-8fed19d0be67",
    "templateId": None,
    "displayName": "Compliant devices for VPN",
    "createdDateTime": "2026-01-01T00:00:00Z",
    "modifiedDateTime": None,
    "state": "enabled",
    "sessionControls": None,
    "conditions": {
        "userRiskLevels": [],
        "signInRiskLevels": [],
        "clientAppTypes": ["all"],
        "servicePrincipalRiskLevels": [],
        "insiderRiskLevels": None,
        "platforms": None,
        "locations": None,
        "devices": None,
        "clientApplications": None,
        "authenticationFlows": None,
        "applications": {
            "includeApplications": ["All"],
            "excludeApplications": [],
            "includeUserActions": [],
            "includeAuthenticationContextClassReferences": [],
            "applicationFilter": None,
        },
        "users": {
            "includeUsers": ["alice@corp.example"],
            "excludeUsers": [],
            "includeGroups": ["Sales"],
            "excludeGroups": [],
            "includeRoles": [],
            "excludeRoles": [],
            "includeGuestsOrExternalUsers": None,
            "excludeGuestsOrExternalUsers": None,
        },
    },
    "grantControls": {
        "operator": "OR",
        "builtInControls": ["compliantDevice"],
        "customAuthenticationFactors": [],
        "termsOfUse": [],
        "authenticationStrength@odata.context": "https://graph.microsoft.com/v1.0/$metadata#x",
        "authenticationStrength": None,
    },
}


def change(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value replaced; `path` as in an error, $ first."""
    changed = copy.deepcopy(document)
    *parents, last = path.split(".")[1:]
    place = changed
    for key in parents:
        place = place[key]
    place[last] = value
    return changed


def applies_to_tunnels(document: dict[str, Any], resolved: dict[str, str] | None = None) -> bool:
    policy = compile_access_policy(document, resolved or {})
    return evaluate_access_policies([policy], build_sign_in(make_facts())).applied == 1


def test_a_policy_as_graph_exports_it_is_read() -> None:
    policy = compile_access_policy(EXPORTED, RESOLVED)
    assert (policy.name, policy.state) == ("Compliant devices for VPN", State.ON)
    assert policy.grant is not None
    assert [control.name for control in policy.grant.controls] == ["compliantDevice"]
    assert not (policy.grant.blocks or policy.grant.require_all)
    assert (policy.unevaluable, policy.without_meaning, policy.session) == ((), (), None)
    assert len(policy.conditions) == 2  # users and applications: what is not configured costs nothing


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_read(state: State) -> None:
    assert compile_access_policy(make_document("block", state=state.value), {}).state is state


@pytest.mark.parametrize(
    ("applications", "applies"),
    [
        ({"includeApplications": ["All"]}, True),
        ({"includeApplications": ["VPN"]}, True),
        ({"includeApplications": ["vpn server"]}, True),
        ({"includeApplications": ["Evertunnel", "Office365"]}, True),
        ({"includeApplications": ["Office365"]}, False),
        ({"includeApplications": ["None"]}, False),
        ({"includeApplications": ["All"], "excludeApplications": ["VPN"]}, False),
        ({"includeApplications": ["VPN"], "excludeApplications": ["All"]}, False),
        ({"includeApplications": ["All"], "excludeApplications": ["Office365"]}, True),
    ],
)
def test_applications_tell_whether_it_is_about_tunnels(applications: dict[str, Any], applies: bool) -> None:
    assert applies_to_tunnels(make_document("block", applications=applications)) is applies


@pytest.mark.parametrize("application", ["b71a1b0f-7e0f-4a0b-9c39-3d1f3c2e5a10", "VNP"])
def test_an_application_that_could_be_ours_is_refused_and_not_taken_for_another(application: str) -> None:
    applications = {"includeApplications": ["Office365", application]}
    with pytest.raises(PolicyError, match="write VPN if it is the VPN") as caught:
        compile_access_policy(make_document("block", applications=applications), {})
    assert caught.value.path == "$.conditions.applications.includeApplications[1]"
    beside = {"includeApplications": [application, "VPN"], "excludeApplications": [application]}
    assert applies_to_tunnels(make_document("block", applications=beside))


def test_the_id_of_an_application_is_the_one_that_was_told() -> None:
    document = make_document("block", applications={"includeApplications": ["a-1"]})
    assert applies_to_tunnels(document, {"a-1": "VPN"})
    assert not applies_to_tunnels(document, {"a-1": "Salesforce"})


def test_one_control_needs_no_operator() -> None:
    document = change(make_document("compliantDevice"), "$.grantControls", {"builtInControls": ["compliantDevice"]})
    grant = compile_access_policy(document, {}).grant
    assert grant is not None
    assert [control.name for control in grant.controls] == ["compliantDevice"]


@pytest.mark.parametrize("control", ["unknownFutureValue", "BLOCK", "", "compliantdevice"])
def test_a_control_that_is_no_word_of_graph_is_refused_even_beside_one_that_is(control: str) -> None:
    document = change(EXPORTED, "$.grantControls.builtInControls", ["compliantDevice", control])
    with pytest.raises(PolicyError) as caught:
        compile_access_policy(document, RESOLVED)
    assert caught.value.path == "$.grantControls.builtInControls[1]"


def test_a_word_that_was_hidden_at_export_is_told_how_to_get() -> None:
    document = change(EXPORTED, "$.grantControls.builtInControls", ["unknownFutureValue"])
    with pytest.raises(PolicyError, match="Prefer: include-unknown-enum-members"):
        compile_access_policy(document, RESOLVED)


WRONG: dict[str, Any] = {
    "$": None,
    "$.displayName": "",
    "$.state": "Enabled",
    "$.conditions": [],
    "$.conditions.users": None,
    "$.conditions.users.includeUsers": "All",
    "$.conditions.users.excludeGroups": {"Sales": True},
    "$.conditions.users.includeUsers[0]": [7],
    "$.conditions.users.excludeUsers[0]": ["carol@corp.example"],
    "$.conditions.users.includeUsers[1]": ["All", "all"],
    "$.conditions.applications": None,
    "$.conditions.applications.includeApplications": [],
    "$.conditions.applications.excludeApplications[0]": [None],
    "$.conditions.clientAppTypes[1]": ["browser", "telnet"],
    "$.conditions.platforms": ["windows"],
    "$.conditions.platforms.includePlatforms[0]": {"includePlatforms": ["Windows"]},
    "$.conditions.platforms.includePlatforms": {"excludePlatforms": ["windows"]},
    "$.conditions.locations.includeLocations": {"excludeLocations": ["AllTrusted"]},
    "$.conditions.locations.includeLocations[0]": {"includeLocations": ["nowhere"]},
    "$.conditions.locations.excludeLocations[0]": {"includeLocations": ["All"], "excludeLocations": ["nowhere"]},
    "$.conditions.signInRiskLevels": "high",
    "$.conditions.signInRiskLevels[0]": ["High"],
    "$.conditions.userRiskLevels[0]": [3],
    "$.conditions.servicePrincipalRiskLevels[0]": ["hidden"],
    "$.conditions.insiderRiskLevels": "minor,great",
    "$.conditions.authenticationFlows": "deviceCodeFlow",
    "$.conditions.authenticationFlows.transferMethods": {"transferMethods": ["deviceCodeFlow"]},
    "$.conditions.devices": "all",
    "$.conditions.devices.deviceFilter": {"deviceFilter": "x"},
    "$.conditions.devices.deviceFilter.mode": {"deviceFilter": {"mode": "Include", "rule": "x"}},
    "$.conditions.devices.deviceFilter.rule": {"deviceFilter": {"mode": "include", "rule": None}},
    "$.conditions.clientApplications": "x",
    "$.conditions.users.includeRoles": "x",
    "$.conditions.users.includeGuestsOrExternalUsers.guestOrExternalUserTypes": {"externalTenants": None, "x": 1},
    "$.conditions.users.excludeGuestsOrExternalUsers.guestOrExternalUserTypes": {"guestOrExternalUserTypes": "guest"},
    "$.conditions.users.excludeGuestsOrExternalUsers.externalTenants.members": {
        "guestOrExternalUserTypes": "internalGuest",
        "externalTenants": {"membershipKind": "enumerated"},
    },
    "$.conditions.applications.applicationFilter.mode": {"mode": "x", "rule": "y"},
    "$.grantControls": None,
    "$.grantControls.operator": "XOR",
    "$.grantControls.termsOfUse": "x",
    "$.grantControls.customAuthenticationFactors[0]": [None],
    "$.grantControls.authenticationStrength": "x",
    "$.grantControls.authenticationStrength.id": {"displayName": "x"},
    "$.grantControls.authenticationStrength.allowedCombinations[0]": {
        "id": "s",
        "displayName": "s",
        "allowedCombinations": ["password,hope"],
    },
    "$.sessionControls": [1],
    "$.sessionControls.signInFrequency": {"signInFrequency": 4},
    "$.sessionControls.signInFrequency.isEnabled": {"signInFrequency": {"isEnabled": "yes"}},
    "$.sessionControls.signInFrequency.type": {"signInFrequency": {"isEnabled": True, "value": 1}},
    "$.sessionControls.signInFrequency.value": {"signInFrequency": {"isEnabled": True, "type": "days", "value": True}},
    "$.sessionControls.signInFrequency.frequencyInterval": {"signInFrequency": {"frequencyInterval": "never"}},
    "$.sessionControls.signInFrequency.authenticationType": {"signInFrequency": {"authenticationType": "third"}},
    "$.grantControls.builtInControls": [],
}


# Where the wrong value is put: what is inside an object is wrong in the object.
OBJECTS = {
    "platforms", "locations", "devices", "authenticationFlows", "includeGuestsOrExternalUsers",
    "excludeGuestsOrExternalUsers", "applicationFilter", "authenticationStrength", "sessionControls",
}  # fmt: skip


def find_changed(path: str) -> str:
    parts = path.partition("[")[0].split(".")
    for index, part in enumerate(parts):
        if part in OBJECTS:
            return ".".join(parts[: index + 1])
    return ".".join(parts)


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_refused_with_its_path(path: str) -> None:
    document = None if path == "$" else change(EXPORTED, find_changed(path), WRONG[path])
    with pytest.raises(PolicyError) as caught:
        compile_access_policy(document, RESOLVED)
    assert caught.value.path == path


def test_a_policy_that_names_nobody_is_refused() -> None:
    with pytest.raises(PolicyError, match="names nobody") as caught:
        compile_access_policy(make_document("block", users={"excludeGroups": ["Sales"]}), RESOLVED)
    assert caught.value.path == "$.conditions.users"


def test_block_beside_another_control_is_refused() -> None:
    with pytest.raises(PolicyError, match="block stands alone"):
        compile_access_policy(make_document("block", "compliantDevice"), {})


def test_two_controls_need_an_operator() -> None:
    document = change(make_document(), "$.grantControls", {"builtInControls": ["compliantDevice", "compliantDevice"]})
    with pytest.raises(PolicyError) as caught:
        compile_access_policy(document, {})
    assert caught.value.path == "$.grantControls.operator"


@pytest.mark.parametrize(
    ("grant", "session", "path"),
    [
        (None, None, "$.grantControls"),
        ({"operator": "OR", "builtInControls": []}, {}, "$.grantControls.builtInControls"),
        (None, {"signInFrequency": None, "persistentBrowser": None}, "$.grantControls"),
    ],
)
def test_a_policy_that_demands_nothing_is_refused(grant: Any, session: Any, path: str) -> None:
    with pytest.raises(PolicyError, match="demands nothing") as caught:
        compile_access_policy(change(EXPORTED, "$.grantControls", grant) | {"sessionControls": session}, RESOLVED)
    assert caught.value.path == path


def test_session_controls_are_enough_to_demand() -> None:
    session = {"persistentBrowser": {"isEnabled": True, "mode": "never"}, "signInFrequency": None}
    policy = compile_access_policy(change(EXPORTED, "$.grantControls", None) | {"sessionControls": session}, RESOLVED)
    assert (policy.grant, policy.session, list_unevaluable(policy)) == (None, None, ())
    assert [path for path, _reason in list_without_meaning(policy)] == ["$.sessionControls.persistentBrowser"]


def test_an_application_we_do_not_know_excludes_nothing_and_is_told() -> None:
    applications = {"includeApplications": ["All"], "excludeApplications": ["Office365", "a-1", "a-2"]}
    document = make_document("block", applications=applications)
    assert applies_to_tunnels(document)
    policy = compile_access_policy(document, {"a-1": "Salesforce"})
    assert [path for path, _reason in list_without_meaning(policy)] == [
        "$.conditions.applications.excludeApplications[2]"
    ]
    assert not applies_to_tunnels(document, {"a-2": "VPN"})


def test_locations_and_strengths_are_listed_to_be_looked_up_and_what_needs_no_looking_up_is_not() -> None:
    document = make_document("mfa")
    places = {"includeLocations": ["All", "AllTrusted", "Office"], "excludeLocations": ["l-2"]}
    document["conditions"]["locations"] = places
    document["grantControls"]["authenticationStrength"] = {"id": "s-1"}
    assert list_references(document) == [
        ("$.conditions.locations.includeLocations[2]", "location", "Office"),
        ("$.conditions.locations.excludeLocations[0]", "location", "l-2"),
        ("$.grantControls.authenticationStrength.id", "strength", "s-1"),
    ]
    for held in (
        {"id": "00000000-0000-0000-0000-000000000004"},
        {"id": "s-1", "displayName": "s", "allowedCombinations": ["fido2"]},
    ):
        document["grantControls"]["authenticationStrength"] = held
        assert len(list_references(document)) == 2


def test_everybody_a_policy_names_is_listed_to_be_looked_up_and_the_special_words_are_not() -> None:
    users = {"includeUsers": ["All", "alice@corp.example"], "excludeUsers": ["None"], "excludeGroups": ["All", "Sales"]}
    assert list_references(make_document("block", users=users)) == [
        ("$.conditions.users.includeUsers[1]", "user", "alice@corp.example"),
        ("$.conditions.users.excludeGroups[0]", "group", "All"),
        ("$.conditions.users.excludeGroups[1]", "group", "Sales"),
    ]
