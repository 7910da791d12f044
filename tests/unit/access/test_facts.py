"""What is known of a device: unknown is unknown, old is unknown, and of two that disagree the stricter counts."""

from datetime import timedelta

import pytest

from evertunnel.access.facts import (
    COMPLIANT,
    USER_RISK,
    SignInFacts,
    find_device_fact,
    find_device_text,
    find_user_risk,
)
from evertunnel.model import Fact
from tests.unit.access.samples import NOW, make_facts, say


def test_nothing_said_is_unknown() -> None:
    assert find_device_fact(make_facts(), COMPLIANT) == (None, "nothing is known of laptop1.corp.example")


def test_no_device_is_unknown() -> None:
    assert find_device_fact(make_facts(say("true"), device=None), COMPLIANT) == (None, "the device is not known")


def test_what_was_said_is_told_with_its_source_and_time() -> None:
    found = find_device_fact(make_facts(say("true", source="intune", age=60)), COMPLIANT)
    assert found == (True, "intune said true at 2026-05-04 12:29:00 UTC")


@pytest.mark.parametrize("value", ["false", "", "TRUE", "True", "yes", "1", " true", "true "])
def test_nothing_but_the_word_true_is_true(value: str) -> None:
    assert find_device_fact(make_facts(say(value)), COMPLIANT)[0] is False


@pytest.mark.parametrize(("age", "known"), [(0, True), (59.999999, True), (60, None), (61, None), (1e6, None)])
def test_a_fact_counts_until_its_life_is_over_to_the_microsecond(age: float, known: bool | None) -> None:
    facts = make_facts(say("true", age=age, life=60))
    assert find_device_fact(facts, COMPLIANT)[0] is known


def test_a_fact_that_is_too_old_says_so() -> None:
    facts = make_facts(say("true", age=61, life=60))
    assert find_device_fact(facts, COMPLIANT) == (None, "what was reported of laptop1.corp.example is too old")


def test_a_fact_without_an_end_never_gets_too_old() -> None:
    ancient = Fact(COMPLIANT, "true", "administrator", NOW - timedelta(days=9999))
    assert find_device_fact(make_facts(ancient), COMPLIANT)[0] is True


@pytest.mark.parametrize("order", [("true", "false"), ("false", "true")])
def test_of_two_sources_that_disagree_the_stricter_counts(order: tuple[str, str]) -> None:
    facts = make_facts(say(order[0], source="first"), say(order[1], source="second"))
    known, words = find_device_fact(facts, COMPLIANT)
    assert known is False
    assert "said false" in words


def test_a_stricter_word_that_is_too_old_does_not_count() -> None:
    facts = make_facts(say("false", source="scanner", age=61, life=60), say("true"))
    assert find_device_fact(facts, COMPLIANT)[0] is True


def test_a_milder_word_that_is_too_old_does_not_count_either() -> None:
    facts = make_facts(say("true", source="scanner", age=61, life=60), say("false"))
    assert find_device_fact(facts, COMPLIANT)[0] is False


def test_a_fact_of_another_name_says_nothing() -> None:
    facts = make_facts(device_facts={"managed": (say("true"),)})
    assert find_device_fact(facts, COMPLIANT)[0] is None


def test_the_words_show_who_disagreed() -> None:
    facts = make_facts(say("true", source="mdm"), say("false", source="device"), say("false", source="script"))
    known, words = find_device_fact(facts, COMPLIANT)
    at = "at 2026-05-04 12:30:00 UTC"
    assert known is False
    assert words == f"device said false {at}; the stricter counts, though mdm said true {at}"


def test_the_words_say_why_a_verdict_is_as_it_is() -> None:
    fact = Fact(COMPLIANT, "false", "device posture", NOW, detail="the firewall is off")
    words = find_device_fact(make_facts(fact), COMPLIANT)[1]
    assert words == "device posture said false at 2026-05-04 12:30:00 UTC: the firewall is off"


ORDER = ["somebody", "device", "import", "mdm", "administrator"]


@pytest.mark.parametrize("source", [*ORDER, "device posture", "mdm posture", "script"])
@pytest.mark.parametrize("least", ["device", "import", "script", "mdm", "administrator"])
def test_a_yes_counts_only_from_the_least_source_that_is_demanded(source: str, least: str) -> None:
    ranks = {name: rank for rank, name in enumerate(ORDER)} | {"script": 2}
    enough = ranks[source.removesuffix(" posture")] >= ranks[least]
    known, words = find_device_fact(make_facts(say("true", source=source)), COMPLIANT, least_source=least)
    assert known is (True if enough else None)
    assert enough or words == (
        f"only {source} said true at 2026-05-04 12:30:00 UTC, and the word of {least} is demanded"
    )


def test_a_no_counts_from_the_least_trusted_too() -> None:
    facts = make_facts(say("true", source="administrator"), say("false", source="device"))
    assert find_device_fact(facts, COMPLIANT, least_source="mdm")[0] is False


def test_the_yes_of_the_most_trusted_is_the_one_told() -> None:
    facts = make_facts(say("true", source="device"), say("true", source="mdm"))
    assert find_device_fact(facts, COMPLIANT, least_source="mdm") == (
        True, "mdm said true at 2026-05-04 12:30:00 UTC",
    )  # fmt: skip


def find_risk(*said: tuple[str, str], least_source: str | None = None) -> str | None:
    facts = make_facts(
        user_facts={USER_RISK: tuple(Fact(USER_RISK, value, source, NOW, None) for source, value in said)}
    )
    return find_user_risk(facts, USER_RISK, least_source=least_source)[0]


@pytest.mark.parametrize(
    ("said", "least", "found"),
    [
        ([], None, None),
        ([("mdm", "none")], None, "none"),
        ([("mdm", "low"), ("script", "medium")], None, "medium"),
        ([("mdm", "low"), ("script", "dreadful")], None, "high"),
        ([("script", "low")], "mdm", None),
        ([("script", "high")], "mdm", "high"),
        ([("script", "medium"), ("mdm", "none")], "mdm", "medium"),
    ],
)
def test_of_risks_the_highest_counts(said: list[tuple[str, str]], least: str | None, found: str | None) -> None:
    assert find_risk(*said, least_source=least) == found


def test_a_risk_too_old_is_unknown_and_nobodys_too() -> None:
    old = Fact(USER_RISK, "none", "mdm", NOW - timedelta(hours=2), NOW - timedelta(hours=1))
    known, words = find_user_risk(make_facts(user_facts={USER_RISK: (old,)}), USER_RISK)
    assert known is None
    assert "too old" in words
    assert find_user_risk(make_facts(user=None), USER_RISK) == (None, "the user is not known")


def test_of_texts_the_most_trusted_counts_then_the_newest() -> None:
    texts = (
        Fact("model", "Toaster", "device", NOW),
        Fact("model", "Latitude", "import", NOW - timedelta(days=2)),
        Fact("model", "Latitude 2", "script", NOW - timedelta(days=1)),
        Fact("model", "Old", "mdm", NOW - timedelta(days=9), NOW - timedelta(days=8)),
    )
    assert find_device_text(make_facts(device_facts={"model": texts}), "model") == "Latitude 2"
    assert find_device_text(make_facts(), "model") is None


def find_with_ours(found: str | None, *said: tuple[str, str, float | None]) -> str | None:
    """With what is known without any fact. Each: source, level, seconds it lives from an hour ago."""
    told = tuple(
        Fact(
            USER_RISK, level, source, NOW, None if life is None else NOW - timedelta(hours=1) + timedelta(seconds=life)
        )
        for source, level, life in said
    )
    facts = make_facts(user_facts={USER_RISK: told} if told else {}, sign_in=SignInFacts(user_risk=found))
    return find_user_risk(facts, USER_RISK)[0]


@pytest.mark.parametrize(
    ("found", "said", "risk"),
    [
        ("none", [], "none"),
        (None, [], None),
        ("none", [("failed attempts", "low", None)], "low"),
        ("none", [("failed attempts", "high", 60)], "none"),  # what we found ended by itself
        (None, [("impossible travel", "low", None)], None),  # where nobody can look, low is no word for it
        ("none", [("failed attempts", "none", None)], "none"),  # dismissed
        ("none", [("script", "low", None), ("failed attempts", "high", None)], "high"),
        ("none", [("script", "high", None), ("failed attempts", "low", None)], "high"),
        ("none", [("script", "high", 60)], None),
        (
            "none",
            [("script", "high", 60), ("failed attempts", "low", None)],
            None,
        ),  # nobody buys his way out by failing
        (None, [("script", "none", None)], "none"),
    ],
)
def test_what_we_find_adds_to_what_others_say_and_never_stands_in_for_it(
    found: str | None, said: list[tuple[str, str, float | None]], risk: str | None
) -> None:
    assert find_with_ours(found, *said) == risk
