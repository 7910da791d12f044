"""What is known of a device: unknown is unknown, old is unknown, and of two that disagree the stricter counts."""

from datetime import timedelta

import pytest

from evertunnel.access.facts import COMPLIANT, find_device_fact
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
