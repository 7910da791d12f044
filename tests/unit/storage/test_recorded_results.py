"""What policies said, as records keep it."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.model import PolicyResult
from evertunnel.storage.recorded_results import decode_results, encode_results

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def keep(results: list[PolicyResult]) -> bytes:
    return orjson.dumps({"results": encode_results(results)})


@given(st.lists(st.builds(PolicyResult, WORDS, WORDS, WORDS, WORDS), max_size=12))
def test_what_is_kept_is_read_back_in_the_same_order(results: list[PolicyResult]) -> None:
    assert decode_results(orjson.loads(keep(results))) == results


def test_what_many_say_is_kept_once() -> None:
    words = "groups: the user is in none of the groups named"
    results = [PolicyResult(f"policy {number}", "network", "notApplied", words) for number in range(50)]
    assert keep(results).count(words.encode()) == 1
    assert len(keep(results)) < 1_100


def test_records_of_earlier_versions_are_read() -> None:
    story = {"policies": [["Staff", "network", "success", "all conditions match"], ["Block", "access", "failure", "x"]]}
    assert decode_results(story) == [
        PolicyResult("Staff", "network", "success", "all conditions match"),
        PolicyResult("Block", "access", "failure", "x"),
    ]
