"""Conditional access: who a policy is about, what it demands, what all together say, and a word for each."""

from typing import Any

import pytest

from evertunnel.access.conditional.evaluation import Evaluation, evaluate_access_policies
from evertunnel.access.conditional.policies import compile_access_policy
from evertunnel.access.decision import build_sign_in
from evertunnel.access.facts import Facts
from evertunnel.model import Fact, Reason
from tests.unit.access.samples import make_document, make_facts, say

RESOLVED = {"alice": "u1", "bob": "u2", "Sales": "g1", "Staff": "g9", "Laptops": "g2"}
COMPLIANT = say("true")
NOT_COMPLIANT = say("false")


def evaluate(facts: Facts, *documents: dict[str, Any]) -> Evaluation:
    return evaluate_access_policies(
        [compile_access_policy(document, RESOLVED) for document in documents], build_sign_in(facts)
    )


def results(found: Evaluation) -> list[str]:
    return [result.result for result in found.results]


APPLIES: dict[str, dict[str, Any]] = {
    "everybody": {"includeUsers": ["All"]},
    "the user": {"includeUsers": ["bob", "alice"]},
    "a group of the user": {"includeGroups": ["Staff", "Sales"]},
    "a group, and another user": {"includeUsers": ["bob"], "includeGroups": ["Sales"]},
    "everybody but others": {"includeUsers": ["All"], "excludeUsers": ["bob"], "excludeGroups": ["Staff"]},
    "everybody, although nobody is excluded by name": {"includeUsers": ["All"], "excludeUsers": ["None"]},
}
DOES_NOT_APPLY: dict[str, dict[str, Any]] = {
    "another user": {"includeUsers": ["bob"]},
    "another group": {"includeGroups": ["Staff"]},
    "a group of the device only": {"includeGroups": ["Laptops"]},
    "nobody": {"includeUsers": ["None"]},
    "everybody but the user": {"includeUsers": ["All"], "excludeUsers": ["alice"]},
    "everybody but a group of the user": {"includeUsers": ["All"], "excludeGroups": ["Sales"]},
    "the user, who is excluded too": {"includeUsers": ["alice"], "excludeUsers": ["alice"]},
    "the user, whose group is excluded": {"includeUsers": ["alice"], "excludeGroups": ["Sales"]},
    "a group, whose member is excluded": {"includeGroups": ["Sales"], "excludeUsers": ["alice"]},
    "everybody but everybody": {"includeUsers": ["All"], "excludeUsers": ["All"]},
}


@pytest.mark.parametrize("what", APPLIES)
def test_a_policy_about_the_user_applies(what: str) -> None:
    assert results(evaluate(make_facts(), make_document("block", users=APPLIES[what]))) == ["failure"]


@pytest.mark.parametrize("what", DOES_NOT_APPLY)
def test_a_policy_not_about_the_user_does_not_apply_and_exclude_beats_include(what: str) -> None:
    found = evaluate(make_facts(), make_document("block", users=DOES_NOT_APPLY[what]))
    assert results(found) == ["notApplied"]
    assert found.refusal is None and found.satisfied == 0
    assert found.results[0].detail.startswith("users: ")


def test_a_policy_about_another_application_does_not_apply() -> None:
    found = evaluate(make_facts(), make_document("block", applications={"includeApplications": ["Office365"]}))
    assert results(found) == ["notApplied"]
    assert found.results[0].detail == "applications: it is not about the VPN"


def test_no_policy_applies_where_no_user_is_involved() -> None:
    found = evaluate(make_facts(user=None), make_document("block"))
    assert (results(found), found.refusal, found.satisfied) == (["notApplied"], None, 0)


WORDS: list[tuple[str, str, tuple[Fact, ...], str]] = [
    ("compliantDevice", "enabled", (COMPLIANT,), "success"),
    ("compliantDevice", "enabled", (NOT_COMPLIANT,), "failure"),
    ("compliantDevice", "enabled", (), "failure"),
    ("block", "enabled", (COMPLIANT,), "failure"),
    ("compliantDevice", "disabled", (NOT_COMPLIANT,), "notEnabled"),
    ("block", "disabled", (), "notEnabled"),
    ("compliantDevice", "enabledForReportingButNotEnforced", (COMPLIANT,), "reportOnlySuccess"),
    ("compliantDevice", "enabledForReportingButNotEnforced", (NOT_COMPLIANT,), "reportOnlyFailure"),
    ("compliantDevice", "enabledForReportingButNotEnforced", (), "reportOnlyFailure"),
    ("block", "enabledForReportingButNotEnforced", (COMPLIANT,), "reportOnlyFailure"),
]


@pytest.mark.parametrize(("control", "state", "known", "word"), WORDS)
def test_each_policy_gets_entras_word(control: str, state: str, known: tuple[Fact, ...], word: str) -> None:
    assert results(evaluate(make_facts(*known), make_document(control, state=state))) == [word]


@pytest.mark.parametrize(
    ("state", "word"), [("enabled", "notApplied"), ("enabledForReportingButNotEnforced", "reportOnlyNotApplied")]
)
def test_a_policy_that_does_not_apply_gets_a_word_of_its_own(state: str, word: str) -> None:
    document = make_document("block", state=state, users={"includeUsers": ["bob"]})
    assert results(evaluate(make_facts(), document)) == [word]


@pytest.mark.parametrize("state", ["disabled", "enabledForReportingButNotEnforced"])
def test_a_policy_that_is_not_on_neither_refuses_nor_vouches(state: str) -> None:
    assert evaluate(make_facts(), make_document("block", state=state)).refusal is None
    found = evaluate(make_facts(COMPLIANT), make_document("compliantDevice", state=state))
    assert (found.refusal, found.satisfied) == (None, 0)


@pytest.mark.parametrize(
    "known",
    [(), (NOT_COMPLIANT,), (say("true", age=61, life=60),), (COMPLIANT, say("false", source="scanner"))],
    ids=["unknown", "not compliant", "too old", "sources that disagree"],
)
def test_a_device_that_is_not_known_to_be_compliant_now_is_refused(known: tuple[Fact, ...]) -> None:
    found = evaluate(make_facts(*known), make_document("compliantDevice"))
    assert found.refusal is not None
    assert found.refusal[0] is Reason.DEVICE_NOT_COMPLIANT
    assert found.refusal[1].startswith("conditional access policy 'policy': device is not")


def test_a_tunnel_without_a_device_is_not_compliant() -> None:
    found = evaluate(make_facts(COMPLIANT, device=None), make_document("compliantDevice"))
    assert found.refusal is not None and "the device is not known" in found.refusal[1]


@pytest.mark.parametrize("operator", ["AND", "OR"])
def test_a_control_that_is_named_twice_counts_once(operator: str) -> None:
    document = make_document("compliantDevice", "compliantDevice", operator=operator)
    assert evaluate(make_facts(COMPLIANT), document).satisfied == 1
    assert evaluate(make_facts(), document).refusal is not None


def test_all_policies_that_apply_must_be_satisfied() -> None:
    found = evaluate(
        make_facts(NOT_COMPLIANT),
        make_document("compliantDevice", name="first", users={"includeUsers": ["bob"]}),
        make_document("compliantDevice", name="second"),
    )
    assert results(found) == ["notApplied", "failure"]
    assert found.refusal is not None and "'second'" in found.refusal[1]


@pytest.mark.parametrize("block_comes", ["first", "last"])
def test_block_wins_over_every_grant_wherever_it_stands(block_comes: str) -> None:
    documents = [make_document("compliantDevice", name="grant"), make_document("block", name="block")]
    found = evaluate(make_facts(COMPLIANT), *(documents if block_comes == "last" else documents[::-1]))
    assert found.refusal is not None
    assert found.refusal[0] is Reason.BLOCKED_BY_ACCESS_POLICY
    assert sorted(results(found)) == ["failure", "success"]


def test_block_is_the_reason_told_even_when_another_policy_failed_before_it() -> None:
    found = evaluate(make_facts(), make_document("compliantDevice", name="a"), make_document("block", name="b"))
    assert found.refusal == (Reason.BLOCKED_BY_ACCESS_POLICY, "conditional access policy 'b': blocks access")


def test_every_policy_is_evaluated_although_one_blocks() -> None:
    documents = [make_document("block", name=str(number)) for number in range(5)]
    assert [result.policy for result in evaluate(make_facts(), *documents).results] == ["0", "1", "2", "3", "4"]


def test_no_policy_at_all_refuses_nothing_and_vouches_for_nothing() -> None:
    found = evaluate(make_facts())
    assert (found.results, found.refusal, found.satisfied, found.status) == ((), None, 0, "notApplied")


def test_satisfied_counts_the_policies_that_vouch() -> None:
    documents = [make_document("compliantDevice", name=name) for name in ("a", "b")]
    assert evaluate(make_facts(COMPLIANT), *documents).satisfied == 2


def test_policies_that_are_alike_are_judged_once_and_told_each_by_its_own_name() -> None:
    """The same demand of the same people: one verdict, one result for each, the first one's name for the refusal."""
    compliant, not_compliant = make_facts(COMPLIANT), make_facts(NOT_COMPLIANT)
    documents = [
        make_document(control, name=name, state=state, users=users)
        for name, control, users, state in (
            ("off", "block", {"includeUsers": ["All"]}, "disabled"),
            ("first", "compliantDevice", {"includeUsers": ["All"]}, "enabled"),
            ("others", "compliantDevice", {"includeUsers": ["bob"]}, "enabled"),
            ("tried", "compliantDevice", {"includeUsers": ["All"]}, "enabledForReportingButNotEnforced"),
            ("second", "compliantDevice", {"includeUsers": ["All"]}, "enabled"),
        )
    ]
    refused = evaluate(not_compliant, *documents)
    assert [(each.policy, each.result) for each in refused.results] == [
        ("off", "notEnabled"),
        ("first", "failure"),
        ("others", "notApplied"),
        ("tried", "reportOnlyFailure"),
        ("second", "failure"),
    ]
    assert refused.refusal is not None and "'first'" in refused.refusal[1]
    assert (refused.applied, refused.satisfied, len(refused.missing)) == (2, 0, 1)
    granted = evaluate(compliant, *documents)
    assert (granted.refusal, granted.applied, granted.satisfied) == (None, 2, 2)
    backwards = evaluate(not_compliant, *reversed(documents))
    assert backwards.refusal is not None and "'second'" in backwards.refusal[1]
