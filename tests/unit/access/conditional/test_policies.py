"""Reading conditional access policies: what Graph writes is taken, what cannot be evaluated is refused at its place."""

import copy
from typing import Any

import pytest

from evertunnel.access.conditional.policies import State, compile_access_policy, list_references
from evertunnel.access.documents import PolicyError
from tests.unit.access.samples import make_document

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


def test_a_policy_as_graph_exports_it_is_read() -> None:
    policy = compile_access_policy(EXPORTED, RESOLVED)
    assert (policy.name, policy.state, policy.controls) == (
        "Compliant devices for VPN", State.ON, ("compliantDevice",),
    )  # fmt: skip
    assert (policy.include_users, policy.include_groups) == ({"u1"}, {"g1"})
    assert policy.applies_to_tunnels
    assert not (policy.all_users or policy.exclude_users or policy.exclude_groups or policy.require_all)


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_read(state: State) -> None:
    assert compile_access_policy(make_document("block", state=state.value), {}).state is state


def test_the_word_all_includes_or_excludes_everybody() -> None:
    policy = compile_access_policy(make_document("block", users={"includeUsers": ["All"], "excludeUsers": ["All"]}), {})
    assert policy.all_users and policy.excludes_all_users


def test_the_word_none_names_nobody() -> None:
    policy = compile_access_policy(make_document("block", users={"includeUsers": ["None"]}), {})
    assert not (policy.all_users or policy.include_users or policy.include_groups)


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
    policy = compile_access_policy(make_document("block", applications=applications), {})
    assert policy.applies_to_tunnels is applies


@pytest.mark.parametrize("application", ["b71a1b0f-7e0f-4a0b-9c39-3d1f3c2e5a10", "VNP"])
def test_an_application_that_could_be_ours_is_refused_and_not_taken_for_another(application: str) -> None:
    applications = {"includeApplications": ["Office365", application]}
    with pytest.raises(PolicyError, match="write VPN if it is the VPN") as caught:
        compile_access_policy(make_document("block", applications=applications), {})
    assert caught.value.path == "$.conditions.applications.includeApplications[1]"
    beside = {"includeApplications": [application, "VPN"], "excludeApplications": [application]}
    assert compile_access_policy(make_document("block", applications=beside), {}).applies_to_tunnels


def test_one_control_needs_no_operator() -> None:
    document = change(make_document("compliantDevice"), "$.grantControls", {"builtInControls": ["compliantDevice"]})
    assert compile_access_policy(document, {}).controls == ("compliantDevice",)


# Everything Graph can say that we do not evaluate, with a value as it would stand there.
CANNOT: dict[str, Any] = {
    "$.sessionControls": {"signInFrequency": {"value": 1, "type": "hours", "isEnabled": True}},
    "$.partialEnablementStrategy": "x",
    "$.conditions.userRiskLevels": ["high"],
    "$.conditions.signInRiskLevels": ["medium"],
    "$.conditions.servicePrincipalRiskLevels": ["high"],
    "$.conditions.insiderRiskLevels": "elevated",
    "$.conditions.agentIdRiskLevels": "high",
    "$.conditions.platforms": {"includePlatforms": ["windows"]},
    "$.conditions.locations": {"includeLocations": ["AllTrusted"]},
    "$.conditions.devices": {"deviceFilter": {"mode": "include", "rule": 'device.model -eq "x"'}},
    "$.conditions.deviceStates": {"includeStates": ["All"]},
    "$.conditions.clientApplications": {"includeServicePrincipals": ["All"]},
    "$.conditions.authenticationFlows": {"transferMethods": "deviceCodeFlow"},
    "$.conditions.times": {"includedRanges": []},
    "$.conditions.applications.includeUserActions": ["urn:user:registerdevice"],
    "$.conditions.applications.includeAuthenticationContextClassReferences": ["c1"],
    "$.conditions.applications.applicationFilter": {"mode": "include", "rule": "x"},
    "$.conditions.users.includeRoles": ["62e90394-69f5-4237-9190-012177145e10"],
    "$.conditions.users.excludeRoles": ["62e90394-69f5-4237-9190-012177145e10"],
    "$.conditions.users.includeGuestsOrExternalUsers": {"guestOrExternalUserTypes": "b2bCollaborationGuest"},
    "$.conditions.users.excludeGuestsOrExternalUsers": {"guestOrExternalUserTypes": "internalGuest"},
    "$.grantControls.customAuthenticationFactors": ["x"],
    "$.grantControls.termsOfUse": ["x"],
    "$.grantControls.authenticationStrength": {"id": "00000000-0000-0000-0000-000000000002"},
}


@pytest.mark.parametrize("path", CANNOT)
def test_what_cannot_be_evaluated_is_refused_with_its_path(path: str) -> None:
    with pytest.raises(PolicyError, match="cannot be evaluated yet") as caught:
        compile_access_policy(change(EXPORTED, path, CANNOT[path]), RESOLVED)
    assert caught.value.path == path


CONTROLS = ["mfa", "domainJoinedDevice", "approvedApplication", "compliantApplication", "passwordChange",
            "unknownFutureValue", "riskRemediation", "BLOCK"]  # fmt: skip


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_we_cannot_check_is_refused_even_beside_one_we_can(control: str) -> None:
    document = change(EXPORTED, "$.grantControls.builtInControls", ["compliantDevice", control])
    with pytest.raises(PolicyError) as caught:
        compile_access_policy(document, RESOLVED)
    assert caught.value.path == "$.grantControls.builtInControls[1]"


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
    "$.conditions.clientAppTypes": ["browser", "mobileAppsAndDesktopClients"],
    "$.grantControls": None,
    "$.grantControls.operator": "XOR",
    "$.grantControls.builtInControls": [],
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_refused_with_its_path(path: str) -> None:
    place = path.partition("[")[0]
    document = WRONG[path] if path == "$" else change(EXPORTED, place, WRONG[path])
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


def test_everybody_a_policy_names_is_listed_to_be_looked_up_and_the_special_words_are_not() -> None:
    users = {"includeUsers": ["All", "alice@corp.example"], "excludeUsers": ["None"], "excludeGroups": ["All", "Sales"]}
    assert list_references(make_document("block", users=users)) == [
        ("$.conditions.users.includeUsers[1]", "user", "alice@corp.example"),
        ("$.conditions.users.excludeGroups[0]", "group", "All"),
        ("$.conditions.users.excludeGroups[1]", "group", "Sales"),
    ]
