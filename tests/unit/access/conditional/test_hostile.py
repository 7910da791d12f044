"""Whatever JSON stands anywhere in a policy: it is read or refused in a few words, and never grants by accident."""

import contextlib
import copy
import time
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from evertunnel.access.conditional.evaluate_request import read_evaluate_request
from evertunnel.access.conditional.evaluation import evaluate_access_policies
from evertunnel.access.conditional.locations import compile_named_location
from evertunnel.access.conditional.policies import compile_access_policy, list_references, list_unevaluable
from evertunnel.access.conditional.sign_in import Person, SignIn
from evertunnel.access.conditional.strengths import compile_strength
from evertunnel.access.documents import PolicyError
from tests.unit.access.conditional.samples import LOCATIONS, RESOLVED, make_policy, make_ranges
from tests.unit.access.samples import NOW

GUESTS = {"guestOrExternalUserTypes": "internalGuest", "externalTenants": {"membershipKind": "all"}}
STRENGTH = {
    "id": "s",
    "displayName": "s",
    "allowedCombinations": ["password,sms", "fido2"],
    "combinationConfigurations": [
        {"@odata.type": "#microsoft.graph.fido2CombinationConfiguration", "allowedAAGUIDs": ["aa"]}
    ],
}
# Everything there is, each for everybody, so that one wrong value changes who is meant.
FULL = make_policy(
    "mfa",
    "compliantDevice",
    users={
        "includeUsers": ["All"], "excludeUsers": ["None"], "includeGroups": ["Sales"], "excludeGroups": ["Staff"],
        "includeRoles": ["r1"], "excludeRoles": ["r2"], "includeGuestsOrExternalUsers": GUESTS,
        "excludeGuestsOrExternalUsers": GUESTS,
    },
    applications={"includeApplications": ["All"], "excludeApplications": ["Office365"]},
    clientAppTypes=["all"],
    platforms={"includePlatforms": ["all"], "excludePlatforms": ["linux"]},
    locations={"includeLocations": ["All", "office"], "excludeLocations": ["branch"]},
    signInRiskLevels=["none", "low"],
    userRiskLevels=["none"],
    insiderRiskLevels="minor,none",
    devices={"deviceFilter": {"mode": "exclude", "rule": 'device.model -eq "X1"'}},
    authenticationFlows={"transferMethods": "none"},
    authenticationStrength=STRENGTH,
    termsOfUse=["t1"],
    sessionControls={
        "signInFrequency": {
            "isEnabled": True, "type": "hours", "value": 4, "frequencyInterval": "timeBased",
            "authenticationType": "primaryAndSecondaryAuthentication",
        },
        "persistentBrowser": {"isEnabled": True, "mode": "never"},
    },
)  # fmt: skip
NOTHING_KNOWN = SignIn(at=NOW, user=Person("u1", "alice"))

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(
    ["All", "None", "block", "AND", "OR", "all", "enabled", "disabled", "include", "exclude", "\ud800",
     "unknownFutureValue"]
)  # fmt: skip
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += list_places(child, (*path, key))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@given(st.sampled_from(list_places(FULL)), JSON)
def test_a_changed_policy_is_refused_or_read_and_never_vouches_where_nothing_is_known(
    place: tuple[Any, ...], value: Any
) -> None:
    document = put(FULL, place, value)
    try:
        list_references(document)
        policy = compile_access_policy(document, RESOLVED, locations=LOCATIONS)
    except PolicyError as error:
        event("refused")
        said = str(error)
    else:
        said = ""
    assert len(said) < 1_000
    if said:
        return
    found = evaluate_access_policies([policy], NOTHING_KNOWN)
    assert found.satisfied == 0
    assert len(found.results) == len(found.outcomes) == 1
    # What narrows a policy may end it; otherwise it refuses whoever nothing is known of.
    event(found.results[0].result)
    assert found.refusal is not None or found.results[0].result in ("notApplied", "notEnabled", "reportOnlyInterrupted",
                                                                    "reportOnlyFailure", "reportOnlyNotApplied",
                                                                    "reportOnlySuccess")  # fmt: skip


@given(st.sampled_from(list_places(STRENGTH)), JSON)
def test_a_changed_strength_is_refused_or_met_by_nobody_without_methods(place: tuple[Any, ...], value: Any) -> None:
    try:
        strength = compile_strength(put(STRENGTH, place, value))
    except PolicyError:
        return
    assert not strength.is_met(())


@given(JSON)
def test_any_json_is_a_location_or_a_policy_error(value: Any) -> None:
    for document in (value, make_ranges("x", "192.0.2.0/24") | {"ipRanges": value}):
        with contextlib.suppress(PolicyError):
            compile_named_location(document)


LONG = "x" * 1_000_000
DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "document",
    [
        make_policy("mfa", users={"includeUsers": [LONG]}),
        make_policy("mfa", users={"includeUsers": ["All"] * 200_000}),
        make_policy("mfa", locations={"includeLocations": [LONG]}),
        make_policy("mfa", platforms={"includePlatforms": [LONG]}),
        make_policy("mfa", insiderRiskLevels="minor," * 200_000),
        make_policy("mfa", devices={"deviceFilter": {"mode": "include", "rule": "(" * 1_000_000}}),
        make_policy("mfa", devices={"deviceFilter": {"mode": "include", "rule": LONG}}),
        make_policy("mfa", times=DEEP),
        make_policy("mfa", platforms=DEEP),
        make_policy(LONG),
        make_policy(authenticationStrength={"id": LONG}),
        make_policy(authenticationStrength=STRENGTH | {"allowedCombinations": ["password," * 100_000]}),
        make_policy("mfa", **{LONG: {"x": 1}}),
        make_policy("mfa", sessionControls={LONG: {"x": 1}}),
        make_policy("mfa") | {"state": LONG},
        make_policy("mfa") | {LONG: 1},
        make_policy("mfa", sessionControls={"signInFrequency": {"type": "days", "value": 10**400}}),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_huge_or_deep_document_is_answered_soon_and_briefly(document: Any) -> None:
    began = time.process_time()
    try:
        policy = compile_access_policy(document, RESOLVED, locations=LOCATIONS)
        said = [*list_unevaluable(policy), *(result.detail for result in evaluate_all(policy))]
    except PolicyError as error:
        said = [str(error)]
    assert max(map(len, map(str, said))) < 1_000
    assert time.process_time() - began < 1


def evaluate_all(policy: Any) -> Any:
    return evaluate_access_policies([policy], NOTHING_KNOWN).results


@pytest.mark.parametrize(
    "document",
    [
        {"x" * 100_000: 1},
        {"signInIdentity": {"@odata.type": "x" * 100_000}, "signInContext": {}},
        {"signInIdentity": {"@odata.type": [["x"] * 10_000]}, "signInContext": {}},
    ],
    ids=["key", "type", "no type"],
)
def test_a_question_as_long_as_a_file_makes_no_error_as_long(document: dict[str, Any]) -> None:
    with pytest.raises(PolicyError) as refused:
        read_evaluate_request(document)
    assert len(str(refused.value)) < 300
