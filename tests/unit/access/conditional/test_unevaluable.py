"""What cannot be evaluated restricts while a policy is on, is told beforehand, and vouches for nobody."""

from dataclasses import replace
from typing import Any

import pytest

from evertunnel.access.conditional.policies import list_unevaluable
from evertunnel.access.conditional.sign_in import SignIn
from evertunnel.model import Reason
from tests.unit.access.conditional.samples import (
    ADMIN_ROLE,
    ALICE,
    compile_policy,
    evaluate,
    find_word,
    make_policy,
    make_sign_in,
)

GOOD = make_sign_in()
NOBODY_ELSE = {"includeUsers": ["bob"]}
GUESTS = {"guestOrExternalUserTypes": "internalGuest"}
FILTER = {"mode": "include", "rule": 'device.model -eq "X1"'}
UNKNOWN_PERSON = make_sign_in(user=replace(ALICE, roles=None, kind=None))

# What stands in the policy, the path that is told, the sign-in.
INCLUDING: dict[str, tuple[dict[str, Any], str, SignIn]] = {
    "insider risk": (
        {"insiderRiskLevels": "elevated"}, "insiderRiskLevels", make_sign_in(insider_risk=None),
    ),
    "roles": (
        {"users": {**NOBODY_ELSE, "includeRoles": [ADMIN_ROLE]}}, "users.includeRoles", UNKNOWN_PERSON,
    ),
    "guests": (
        {"users": {**NOBODY_ELSE, "includeGuestsOrExternalUsers": GUESTS}},
        "users.includeGuestsOrExternalUsers", UNKNOWN_PERSON,
    ),
    "any guest": ({"users": {"includeUsers": ["GuestsOrExternalUsers"]}}, "users.includeUsers", UNKNOWN_PERSON),
    "a field of users": ({"users": {**NOBODY_ELSE, "includeAgents": ["x"]}}, "users.includeAgents", GOOD),
    "a field of guests": (
        {"users": {"includeUsers": ["None"], "includeGuestsOrExternalUsers": {**GUESTS, "since": "x"}}},
        "users.includeGuestsOrExternalUsers.since", make_sign_in(user=replace(ALICE, kind="internalGuest")),
    ),
    "an application filter": (
        {"applications": {"applicationFilter": {"mode": "include", "rule": "x"}}}, "applications.applicationFilter",
        GOOD,
    ),
    "a field of applications": (
        {"applications": {"includeApplications": ["None"], "networkAccess": {"x": 1}}}, "applications.networkAccess",
        GOOD,
    ),
    "a field of platforms": ({"platforms": {"includeVersions": ["11"]}}, "platforms.includeVersions", GOOD),
    "a field of locations": ({"locations": {"includePlanets": ["Mars"]}}, "locations.includePlanets", GOOD),
    "Entra's own network": ({"locations": {"includeLocations": ["network"]}}, "locations.includeLocations[0]", GOOD),
    "addresses trusted by MFA": (
        {"locations": {"includeLocations": ["00000000-0000-0000-0000-000000000000"]}},
        "locations.includeLocations[0]", GOOD,
    ),
    "a field of devices": ({"devices": {"includeDevices": ["All"]}}, "devices.includeDevices", GOOD),
    "a field of a filter": (
        {"devices": {"deviceFilter": {**FILTER, "version": 2}}}, "devices.deviceFilter.version", GOOD,
    ),
    "a field of flows": (
        {"authenticationFlows": {"transferMethods": "none", "other": "x"}}, "authenticationFlows.other", GOOD,
    ),
    "a field of workloads": (
        {"clientApplications": {"includeAgents": ["x"]}}, "clientApplications.includeAgents", GOOD,
    ),
    "states of devices": ({"deviceStates": {"includeStates": ["All"]}}, "deviceStates", GOOD),
    "times": ({"times": {"includedRanges": [1]}}, "times", GOOD),
    "risk of agents": ({"agentIdRiskLevels": "high"}, "agentIdRiskLevels", GOOD),
}  # fmt: skip


@pytest.mark.parametrize("what", INCLUDING)
def test_an_inclusion_that_cannot_be_evaluated_is_told_and_restricts_and_does_not_vouch(what: str) -> None:
    parts, path, sign_in = INCLUDING[what]
    assert f"$.conditions.{path}" in dict(list_unevaluable(compile_policy(make_policy("block", **parts))))
    found = evaluate(sign_in, make_policy("block", **parts))
    assert found.error_code == 53003
    assert "so it counts as applying" in found.results[0].detail
    assert found.outcomes[0].applies is None
    satisfied = evaluate(sign_in, make_policy("mfa", **parts))
    assert (satisfied.refusal, satisfied.satisfied) == (None, 0)
    assert satisfied.results[0].result == "unknown"


@pytest.mark.parametrize("what", INCLUDING)
def test_a_condition_that_does_not_match_ends_it_whatever_is_unknown_beside_it(what: str) -> None:
    parts, _path, sign_in = INCLUDING[what]
    document = make_policy("block", **{**parts, "userRiskLevels": ["high"]})
    assert find_word(sign_in, document) == "notApplied"


# Facts that a source could tell and does not, and a condition about each.
UNKNOWN_FACTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the kind of client": ({"client_app": None}, {"clientAppTypes": ["browser"]}),
    "the address": ({"address": None}, {"locations": {"includeLocations": ["branch"]}}),
    "the country": ({"country": None}, {"locations": {"includeLocations": ["abroad"]}}),
    "the sign-in's risk": ({"sign_in_risk": None}, {"signInRiskLevels": ["high"]}),
    "the user's risk": ({"user_risk": None}, {"userRiskLevels": ["high"]}),
    "the way here": ({"transfer_method": None}, {"authenticationFlows": {"transferMethods": "deviceCodeFlow"}}),
    "the tenant": (
        {"user": replace(ALICE, kind="internalGuest")},
        {"users": {"includeUsers": ["None"], "includeGuestsOrExternalUsers": {
            **GUESTS, "externalTenants": {"membershipKind": "enumerated", "members": ["t1"]}}}},
    ),
    "a property of the device": ({"device": {"displayName": "x"}}, {"devices": {"deviceFilter": FILTER}}),
    "whether attributes count": (
        {"device": {"extensionAttribute1": "SAW", "trustType": "AzureAD"}},
        {"devices": {"deviceFilter": {"mode": "include", "rule": 'device.extensionAttribute1 -ne "SAW"'}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNKNOWN_FACTS)
def test_a_fact_that_is_not_known_counts_as_matching_and_does_not_vouch(what: str) -> None:
    changes, parts = UNKNOWN_FACTS[what]
    document = make_policy("block", **parts)
    assert find_word(make_sign_in(**changes), document) == "failure"
    assert evaluate(make_sign_in(**changes), make_policy("mfa", **parts)).satisfied == 0


EVERYBODY = {"includeUsers": ["All"]}
EXCLUDING: dict[str, tuple[dict[str, Any], SignIn]] = {
    "roles": ({"users": {**EVERYBODY, "excludeRoles": [ADMIN_ROLE]}}, UNKNOWN_PERSON),
    "guests": ({"users": {**EVERYBODY, "excludeGuestsOrExternalUsers": GUESTS}}, UNKNOWN_PERSON),
    "any guest": ({"users": {**EVERYBODY, "excludeUsers": ["GuestsOrExternalUsers"]}}, UNKNOWN_PERSON),
    "a field of users": ({"users": {**EVERYBODY, "excludeAgents": ["x"]}}, GOOD),
    "a field of guests": (
        {"users": {**EVERYBODY, "excludeGuestsOrExternalUsers": {**GUESTS, "since": "x"}}},
        make_sign_in(user=replace(ALICE, kind="internalGuest")),
    ),
    "an application filter": (
        {"applications": {"includeApplications": ["All"], "applicationFilter": {"mode": "exclude", "rule": "x"}}}, GOOD,
    ),
    "a field of applications": ({"applications": {"includeApplications": ["All"], "excludeNetworks": ["x"]}}, GOOD),
    "a field of platforms": ({"platforms": {"includePlatforms": ["all"], "excludeVersions": ["11"]}}, GOOD),
    "a field of locations": ({"locations": {"includeLocations": ["All"], "excludePlanets": ["Earth"]}}, GOOD),
    "Entra's own network": ({"locations": {"includeLocations": ["All"], "excludeLocations": ["network"]}}, GOOD),
    "the address": (
        {"locations": {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}}, make_sign_in(address=None),
    ),
    "the country": (
        {"locations": {"includeLocations": ["All"], "excludeLocations": ["abroad"]}}, make_sign_in(country=None),
    ),
    "a field of devices": ({"devices": {"excludeDevices": ["Compliant"]}}, GOOD),
    "a field of a filter": ({"devices": {"deviceFilter": {**FILTER, "mode": "exclude", "version": 2}}}, GOOD),
    "a property of the device": (
        {"devices": {"deviceFilter": {"mode": "exclude", "rule": 'device.model -ne "Y"'}}},
        make_sign_in(device={"displayName": "x"}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", EXCLUDING)
def test_an_exclusion_that_cannot_be_evaluated_excludes_nobody(what: str) -> None:
    parts, sign_in = EXCLUDING[what]
    assert evaluate(sign_in, make_policy("block", **parts)).error_code == 53003
    assert evaluate(sign_in, make_policy("mfa", **parts)).satisfied == 1


STRENGTH = {"id": "s", "displayName": "s", "allowedCombinations": ["password,sms"]}
CONTROLS: dict[str, tuple[dict[str, Any], str]] = {
    "approvedApplication": (make_policy("approvedApplication"), "$.grantControls.builtInControls[0]"),
    "compliantApplication": (make_policy("compliantApplication"), "$.grantControls.builtInControls[0]"),
    "riskRemediation": (make_policy("riskRemediation"), "$.grantControls.builtInControls[0]"),
    "custom factors": (make_policy(customAuthenticationFactors=["x"]), "$.grantControls.customAuthenticationFactors"),
    "a control we do not know": (make_policy(future=["x"]), "$.grantControls.future"),
    "a session control we do not know": (
        make_policy("mfa", sessionControls={"future": {"isEnabled": True}}), "$.sessionControls.future",
    ),
    "a field of sign-in frequency": (
        make_policy("mfa", sessionControls={"signInFrequency": {"type": "days", "value": 1, "future": 1}}),
        "$.sessionControls.signInFrequency.future",
    ),
    "a field of a strength": (
        make_policy(authenticationStrength={**STRENGTH, "future": 1}), "$.grantControls.authenticationStrength.future",
    ),
    "a limit of a strength": (
        make_policy(authenticationStrength={**STRENGTH, "combinationConfigurations": [
            {"@odata.type": "#microsoft.graph.futureConfiguration", "appliesToCombinations": ["sms,password"]}]}),
        "$.grantControls.authenticationStrength.combinationConfigurations[0]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CONTROLS)
def test_a_control_that_cannot_be_evaluated_is_told_and_never_met(what: str) -> None:
    document, path = CONTROLS[what]
    assert [place for place, _reason in list_unevaluable(compile_policy(document))] == [path]
    found = evaluate(GOOD, document)
    assert found.refusal is not None
    if "strength" not in what:
        assert found.refusal[0] is Reason.ACCESS_CONTROL_UNKNOWN
    assert find_word(GOOD, document | {"state": "disabled"}) == "notEnabled"
    report_only = evaluate(GOOD, document | {"state": "enabledForReportingButNotEnforced"})
    assert (report_only.refusal, report_only.satisfied) == (None, 0)


def test_a_control_that_cannot_be_evaluated_may_be_an_alternative() -> None:
    document = make_policy("approvedApplication", "passwordChange", operator="OR")
    assert evaluate(GOOD, document).satisfied == 1
    found = evaluate(make_sign_in(password_changed=False), document)
    assert [each.control for each in found.missing] == ["passwordChange"]  # the one somebody could meet


def test_a_field_that_says_nothing_is_no_condition() -> None:
    document = make_policy("mfa", times=None, agents={}, deviceStates=[], devices={"deviceFilter": None})
    document["conditions"]["users"] |= {"includeAgents": [], "includeRoles": [], "x@odata.context": "y"}
    policy = compile_policy(document | {"tags": "", "partial": False})
    assert (list_unevaluable(policy), len(policy.conditions)) == ((), 2)


def test_a_field_beside_the_conditions_counts_as_one() -> None:
    document = make_policy("mfa") | {"partialEnablementStrategy": {"percent": 5}}
    assert [path for path, _reason in list_unevaluable(compile_policy(document))] == ["$.partialEnablementStrategy"]
    assert evaluate(GOOD, document).satisfied == 0


@pytest.mark.parametrize(
    "name",
    ["applicationEnforcedRestrictions", "cloudAppSecurity", "persistentBrowser", "secureSignInSession",
     "continuousAccessEvaluation", "globalSecureAccessFilteringProfile"],
)  # fmt: skip
def test_a_session_control_without_meaning_for_a_vpn_is_told_and_has_no_effect(name: str) -> None:
    document = make_policy("mfa", sessionControls={name: {"isEnabled": True}, "disableResilienceDefaults": True})
    policy = compile_policy(document)
    paths = {path for path, _reason in policy.without_meaning}
    assert paths == {f"$.sessionControls.{name}", "$.sessionControls.disableResilienceDefaults"}
    assert (list_unevaluable(policy), evaluate(GOOD, document).satisfied) == ((), 1)


def test_a_session_control_that_is_switched_off_is_none() -> None:
    off = {"isEnabled": False}
    document = make_policy("mfa", sessionControls={"future": off, "persistentBrowser": off, "signInFrequency": off})
    policy = compile_policy(document)
    assert (policy.session, policy.unevaluable, policy.without_meaning) == (None, (), ())
