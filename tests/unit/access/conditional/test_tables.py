"""Every row of the tables in the reference, conditional access 1.7 to 1.10, that says what an evaluation yields."""

from dataclasses import replace
from typing import Any

import pytest

from evertunnel.access.conditional.sign_in import NO_COUNTRY, NOT_COMPUTED, SignIn
from evertunnel.model import Reason
from tests.unit.access.conditional.samples import (
    ADMIN_ROLE,
    ALICE,
    LAPTOP,
    NO,
    PASSWORD,
    UNKNOWN,
    YES,
    evaluate,
    find_word,
    make_policy,
    make_sign_in,
)

REPORT_ONLY = "enabledForReportingButNotEnforced"
GOOD = make_sign_in()
WEAK = make_sign_in(methods=(PASSWORD,))
EVERYTHING_UNMET = make_sign_in(
    methods=(), compliant=NO, domain_joined=NO, password_changed=False, terms_accepted=frozenset()
)


def block(**parts: Any) -> dict[str, Any]:
    return make_policy("block", **parts)


# 1.7 Evaluation semantics


def test_1_7_applicability_all_configured_conditions_are_anded_and_an_unconfigured_one_matches_everything() -> None:
    both = {"platforms": {"includePlatforms": ["windows"]}, "userRiskLevels": ["high"]}
    assert find_word(make_sign_in(user_risk="high"), block(**both)) == "failure"
    assert find_word(make_sign_in(user_risk="low"), block(**both)) == "notApplied"
    assert find_word(make_sign_in(user_risk="high", platform="linux"), block(**both)) == "notApplied"
    assert find_word(make_sign_in(user_risk="low", platform="linux"), block()) == "failure"


@pytest.mark.parametrize(
    "users",
    [
        {"includeUsers": ["alice"], "includeGroups": ["Staff"], "includeRoles": ["r9"]},
        {"includeUsers": ["bob"], "includeGroups": ["Sales"], "includeRoles": ["r9"]},
        {"includeUsers": ["bob"], "includeGroups": ["Staff"], "includeRoles": [ADMIN_ROLE.upper()]},
        {
            "includeUsers": ["bob"],
            "includeGuestsOrExternalUsers": {"guestOrExternalUserTypes": "serviceProvider,internalGuest"},
        },
        {"includeUsers": ["bob", "GuestsOrExternalUsers"]},
    ],
    ids=["user", "group", "role", "guest", "any guest"],
)
def test_1_7_inside_a_condition_include_lists_are_a_union(users: dict[str, Any]) -> None:
    person = replace(ALICE, roles=frozenset({ADMIN_ROLE}), kind="internalGuest", tenant="t1")
    assert find_word(make_sign_in(user=person), block(users=users)) == "failure"
    stranger = replace(person, id="u7", groups=frozenset(), roles=frozenset(), kind="member")
    assert find_word(make_sign_in(user=stranger), block(users=users)) == "notApplied"


EXCLUDED: dict[str, dict[str, Any]] = {
    "user": {"users": {"includeUsers": ["alice"], "excludeUsers": ["alice"]}},
    "group": {"users": {"includeUsers": ["alice"], "excludeGroups": ["Sales"]}},
    "role": {"users": {"includeUsers": ["All"], "excludeRoles": [ADMIN_ROLE]}},
    "guest": {
        "users": {
            "includeUsers": ["All"],
            "excludeGuestsOrExternalUsers": {"guestOrExternalUserTypes": "internalGuest"},
        }
    },
    "application": {"applications": {"includeApplications": ["VPN"], "excludeApplications": ["VPN"]}},
    "platform": {"platforms": {"includePlatforms": ["all", "windows"], "excludePlatforms": ["windows"]}},
    "location": {"locations": {"includeLocations": ["All", "office"], "excludeLocations": ["office"]}},
    "trusted location": {"locations": {"includeLocations": ["office"], "excludeLocations": ["AllTrusted"]}},
    "country": {"locations": {"includeLocations": ["All"], "excludeLocations": ["home"]}},
    "device": {"devices": {"deviceFilter": {"mode": "exclude", "rule": 'device.model -eq "x1"'}}},
}


@pytest.mark.parametrize("what", EXCLUDED)
def test_1_7_inside_a_condition_exclude_always_beats_include(what: str) -> None:
    person = replace(ALICE, roles=frozenset({ADMIN_ROLE}), kind="internalGuest")
    found = evaluate(make_sign_in(user=person), block(**EXCLUDED[what]))
    assert found.results[0].result == "notApplied"
    assert "exclude" in found.results[0].detail


def test_1_7_across_policies_every_one_that_applies_must_be_satisfied_and_order_does_not_count() -> None:
    documents = [make_policy("mfa", name="a"), make_policy("compliantDevice", name="b")]
    for order in (documents, documents[::-1]):
        assert evaluate(GOOD, *order).refusal is None
        found = evaluate(WEAK, *order)
        assert found.refusal is not None and found.refusal[0] is Reason.MFA_REQUIRED


def test_1_7_inside_one_policy_and_wants_all_controls() -> None:
    document = make_policy("mfa", "compliantDevice", operator="AND")
    words = [find_word(make_sign_in(methods=methods, compliant=compliant), document)
             for methods in (GOOD.methods, ()) for compliant in (YES, NO)]  # fmt: skip
    assert words == ["success", "failure", "failure", "failure"]


def test_1_7_inside_one_policy_or_wants_any_one_control() -> None:
    document = make_policy("mfa", "compliantDevice", operator="OR")
    words = [find_word(make_sign_in(methods=methods, compliant=compliant), document)
             for methods in (GOOD.methods, ()) for compliant in (YES, NO)]  # fmt: skip
    assert words == ["success", "success", "success", "failure"]


def test_1_7_two_policies_with_one_control_each_are_and() -> None:
    found = evaluate(make_sign_in(compliant=NO), make_policy("mfa", name="a"), make_policy("compliantDevice", name="b"))
    assert [result.result for result in found.results] == ["success", "failure"]
    assert found.error_code == 53000


def test_1_7_block_wins_over_any_grant_in_any_other_policy() -> None:
    found = evaluate(GOOD, make_policy("mfa", name="a"), block(name="b"), make_policy("compliantDevice", name="c"))
    assert (found.status, found.error_code) == ("failure", 53003)
    assert [result.result for result in found.results] == ["success", "failure", "success"]


def test_1_7_no_applying_policy_allows_by_default() -> None:
    found = evaluate(GOOD, block(users={"includeUsers": ["bob"]}))
    assert (found.status, found.refusal, found.satisfied) == ("notApplied", None, 0)


CONTROLS = {
    "mfa": 50076, "compliantDevice": 53000, "domainJoinedDevice": 53001, "approvedApplication": 53002,
    "compliantApplication": 53009, "passwordChange": 50135, "termsOfUse": 50158, "customAuthenticationFactors": 50158,
}  # fmt: skip


def demand(control: str, **parts: Any) -> dict[str, Any]:
    if control in ("termsOfUse", "customAuthenticationFactors"):
        return make_policy(**parts, **{control: ["x"]})
    return make_policy(control, **parts)


def test_1_7_unmet_controls_are_told_in_entras_fixed_order() -> None:
    found = evaluate(EVERYTHING_UNMET, *[demand(name, name=name) for name in reversed(CONTROLS)])
    assert [each.control for each in found.missing] == list(CONTROLS)
    assert [each.error_code for each in found.missing] == list(CONTROLS.values())


@pytest.mark.parametrize("name", CONTROLS)
def test_1_7_and_1_14_each_unmet_control_shows_its_code(name: str) -> None:
    assert evaluate(EVERYTHING_UNMET, demand(name)).error_code == CONTROLS[name]


@pytest.mark.parametrize(
    ("applications", "condition"),
    [
        ({"includeUserActions": ["urn:user:registerdevice"]}, "userActions"),
        ({"includeAuthenticationContextClassReferences": ["c1"]}, "authenticationContext"),
        ({"includeApplications": ["Office365"]}, "application"),
    ],
)
def test_1_7_a_policy_targets_what_is_asked_for(applications: dict[str, Any], condition: str) -> None:
    found = evaluate(GOOD, block(applications=applications))
    assert [(each.result.result, each.condition) for each in found.outcomes] == [("notApplied", condition)]


def test_1_7_groups_are_evaluated_transitively() -> None:
    person = replace(ALICE, groups=frozenset({"g1", "g9"}))  # the caller gives nested ones, too
    assert find_word(make_sign_in(user=person), block(users={"includeGroups": ["Staff"]})) == "failure"


# 1.8 Device filter: states of devices

POSITIVE = ['device.model -eq "X1"', 'device.model -startsWith "x"', 'device.model -in ["x1", "x2"]',
            'device.physicalIds -contains "[ZTDId]:1"']  # fmt: skip
NEGATIVE = ['device.model -ne "Y"', 'device.model -notStartsWith "y"', 'device.model -notIn ["y"]',
            'device.physicalIds -notContains "[ZTDId]:2"']  # fmt: skip
REGISTERED = {**LAPTOP, "physicalIds": ["[ZTDId]:1"]}


def filter_devices(mode: str, rule: str) -> dict[str, Any]:
    return block(devices={"deviceFilter": {"mode": mode, "rule": rule}})


@pytest.mark.parametrize("rule", POSITIVE)
def test_1_8_an_unregistered_device_never_matches_a_positive_operator(rule: str) -> None:
    assert find_word(make_sign_in(device=None), filter_devices("include", rule)) == "notApplied"
    assert find_word(make_sign_in(device=None), filter_devices("exclude", rule)) == "failure"


@pytest.mark.parametrize("rule", NEGATIVE)
def test_1_8_an_unregistered_device_always_matches_a_negative_operator(rule: str) -> None:
    assert find_word(make_sign_in(device=None), filter_devices("include", rule)) == "failure"
    assert find_word(make_sign_in(device=None), filter_devices("exclude", rule)) == "notApplied"


@pytest.mark.parametrize("rule", POSITIVE + NEGATIVE)
def test_1_8_a_registered_device_is_compared_as_it_is(rule: str) -> None:
    sign_in = make_sign_in(device=REGISTERED)
    assert find_word(sign_in, filter_devices("include", rule)) == "failure"
    assert find_word(sign_in, filter_devices("exclude", rule)) == "notApplied"


SAW = 'device.extensionAttribute1 -eq "SAW"'


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({"mdmAppId": "0000000a-0000-0000-c000-000000000000", "isCompliant": False, "trustType": "AzureAD"}, True),
        ({"mdmAppId": None, "isCompliant": True, "trustType": "AzureAD"}, True),
        ({"mdmAppId": None, "isCompliant": False, "trustType": "ServerAD"}, True),
        ({"mdmAppId": None, "isCompliant": False, "trustType": "AzureAD"}, False),
    ],
    ids=["managed by Intune", "compliant", "hybrid joined", "none of them"],
)
def test_1_8_extension_attributes_count_on_devices_managed_compliant_or_joined(
    changes: dict[str, Any], usable: bool
) -> None:
    sign_in = make_sign_in(device=LAPTOP | changes)
    assert find_word(sign_in, filter_devices("exclude", SAW)) == ("notApplied" if usable else "failure")
    assert find_word(sign_in, filter_devices("include", SAW)) == ("failure" if usable else "notApplied")


def test_1_8_the_pair_for_admin_workstations() -> None:
    grant = make_policy("mfa", name="grant")
    refuse = filter_devices("exclude", SAW)
    assert evaluate(GOOD, grant, refuse).refusal is None
    assert evaluate(make_sign_in(device=LAPTOP | {"extensionAttribute1": None}), grant, refuse).error_code == 53003
    assert evaluate(make_sign_in(device=None), grant, refuse).error_code == 53003


# 1.9 Missing or unknown signals


def test_1_9_device_unregistered_compliant_device_shows_53000() -> None:
    assert evaluate(make_sign_in(device=None, compliant=UNKNOWN), make_policy("compliantDevice")).error_code == 53000


def test_1_9_device_unregistered_domain_joined_device_shows_53001() -> None:
    sign_in = make_sign_in(device=None, domain_joined=UNKNOWN)
    assert evaluate(sign_in, make_policy("domainJoinedDevice")).error_code == 53001


def test_1_9_platform_unknown_matches_only_all() -> None:
    unknown = make_sign_in(platform=None)
    assert find_word(unknown, block(platforms={"includePlatforms": ["windows", "linux"]})) == "notApplied"
    assert find_word(unknown, block(platforms={"includePlatforms": ["all"]})) == "failure"
    extra = {"includePlatforms": ["all"], "excludePlatforms": ["android", "iOS", "windows", "macOS", "linux"]}
    assert find_word(unknown, block(platforms=extra)) == "failure"
    assert find_word(GOOD, block(platforms=extra)) == "notApplied"


def test_1_9_country_that_cannot_be_resolved_belongs_where_unknown_countries_are_included() -> None:
    nowhere = make_sign_in(country=NO_COUNTRY)
    assert find_word(nowhere, block(locations={"includeLocations": ["home"]})) == "notApplied"
    assert find_word(nowhere, block(locations={"includeLocations": ["abroad"]})) == "failure"


@pytest.mark.parametrize("name", CONTROLS)
def test_1_9_a_legacy_client_meets_no_grant_control(name: str) -> None:
    legacy = make_sign_in(client_app="other", terms_accepted=frozenset({"x"}))
    assert find_word(legacy, demand(name)) == "failure"
    assert find_word(legacy, demand(name, clientAppTypes=["browser", "mobileAppsAndDesktopClients"])) == "notApplied"


@pytest.mark.parametrize(("name", "fact"), [("signInRiskLevels", "sign_in_risk"), ("userRiskLevels", "user_risk")])
def test_1_9_a_risk_that_nobody_computes_does_not_match(name: str, fact: str) -> None:
    document = block(**{name: ["low", "medium", "high"]})
    assert find_word(make_sign_in(**{fact: NOT_COMPUTED}), document) == "notApplied"


def test_1_9_device_code_flow_does_not_carry_a_vpn() -> None:
    document = block(authenticationFlows={"transferMethods": "deviceCodeFlow,authenticationTransfer"})
    assert find_word(GOOD, document) == "notApplied"
    assert find_word(make_sign_in(transfer_method="deviceCodeFlow"), document) == "failure"


# 1.10 Report-only and per-policy outcomes

BOB = {"includeUsers": ["bob"]}
NOT_ALICE = {"includeUsers": ["All"], "excludeUsers": ["alice"]}
MAPPING: dict[str, tuple[dict[str, Any], SignIn, str, str]] = {
    "a condition did not match": (block(users=BOB), GOOD, "notApplied", "reportOnlyNotApplied"),
    "excluded": (block(users=NOT_ALICE), GOOD, "notApplied", "reportOnlyNotApplied"),
    "every control met without a prompt": (make_policy("mfa", "compliantDevice"), GOOD, "success", "reportOnlySuccess"),
    "block": (block(), GOOD, "failure", "reportOnlyFailure"),
    "device not compliant": (make_policy("compliantDevice"), EVERYTHING_UNMET, "failure", "reportOnlyFailure"),
    "would prompt for mfa": (make_policy("mfa"), WEAK, "failure", "reportOnlyInterrupted"),
    "would prompt for terms of use": (demand("termsOfUse"), GOOD, "failure", "reportOnlyInterrupted"),
    "would prompt for a password": (
        make_policy("passwordChange"), EVERYTHING_UNMET, "failure", "reportOnlyInterrupted",
    ),
    "a prompt would not be enough": (
        make_policy("mfa", "compliantDevice", operator="AND"), EVERYTHING_UNMET, "failure", "reportOnlyFailure",
    ),
    "a prompt would be enough": (
        make_policy("mfa", "compliantDevice", operator="OR"), EVERYTHING_UNMET, "failure", "reportOnlyInterrupted",
    ),
    "no prompt would help": (
        make_policy("domainJoinedDevice", "compliantDevice", operator="OR"),
        EVERYTHING_UNMET, "failure", "reportOnlyFailure",
    ),
    "not determinable": (
        make_policy("mfa", signInRiskLevels=["high"]), make_sign_in(sign_in_risk=None), "unknown", "reportOnlySuccess",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MAPPING)
def test_1_10_each_situation_gets_its_word(what: str) -> None:
    document, sign_in, enabled, report_only = MAPPING[what]
    assert find_word(sign_in, document) == enabled
    found = evaluate(sign_in, document | {"state": REPORT_ONLY})
    assert found.results[0].result == report_only
    assert (found.refusal, found.satisfied, found.missing, found.status) == (None, 0, (), "notApplied")


@pytest.mark.parametrize("what", MAPPING)
def test_1_10_a_disabled_policy_is_not_enabled_whatever_it_says(what: str) -> None:
    document, sign_in, _enabled, _report_only = MAPPING[what]
    assert find_word(sign_in, document | {"state": "disabled"}) == "notEnabled"


@pytest.mark.parametrize(
    ("documents", "status"),
    [
        ([make_policy("mfa")], "success"),
        ([block(), make_policy("mfa")], "failure"),
        ([block(users=BOB), block(state="disabled"), block(state=REPORT_ONLY)], "notApplied"),
    ],
)
def test_1_10_the_overall_status(documents: list[dict[str, Any]], status: str) -> None:
    assert evaluate(GOOD, *documents).status == status
