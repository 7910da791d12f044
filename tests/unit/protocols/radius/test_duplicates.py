"""Repeated requests (RFC 5080 2.2.2)."""

from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.radius.duplicates import Duplicates


def test_a_request_is_new_until_it_was_begun() -> None:
    seen: Duplicates[str] = Duplicates()
    assert seen.find("a", 0.0) is None
    begun = seen.begin("a", 0.0)
    assert begun.reply is None
    assert seen.find("a", 0.0) is begun
    assert seen.find("b", 0.0) is None


def test_the_reply_put_in_is_found_again() -> None:
    seen: Duplicates[str] = Duplicates()
    seen.begin("a", 0.0).reply = "challenge"
    found = seen.find("a", 19.9)
    assert found is not None
    assert found.reply == "challenge"


def test_a_request_is_remembered_for_its_seconds_and_no_longer() -> None:
    seen: Duplicates[str] = Duplicates(seconds=5.0)
    seen.begin("a", 100.0)
    assert seen.find("a", 105.0) is not None
    assert seen.find("a", 105.1) is None


def test_being_asked_for_again_makes_nothing_younger() -> None:
    seen: Duplicates[str] = Duplicates(seconds=5.0)
    seen.begin("a", 0.0)
    for now in (1.0, 2.0, 3.0, 4.0, 5.0):
        assert seen.find("a", now) is not None
    assert seen.find("a", 5.1) is None


def test_the_oldest_go_first_when_it_is_full() -> None:
    seen: Duplicates[str] = Duplicates(capacity=2)
    for number, key in enumerate("abc"):
        seen.begin(key, float(number))
    assert [key for key in "abc" if seen.find(key, 3.0)] == ["b", "c"]


def test_what_is_too_old_makes_room_with_the_next_request() -> None:
    seen: Duplicates[str] = Duplicates(seconds=5.0)
    for number in range(100):
        seen.begin(number, 0.0)
    seen.begin("new", 6.0)
    assert len(seen) == 1


def test_a_request_begun_anew_after_its_time_is_young() -> None:
    seen: Duplicates[str] = Duplicates(seconds=5.0)
    seen.begin("a", 0.0).reply = "old"
    assert seen.begin("a", 6.0).reply is None
    assert seen.find("a", 11.0) is not None


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 4))))
def test_it_never_holds_more_than_its_capacity(requests: list[tuple[int, float]]) -> None:
    seen: Duplicates[str] = Duplicates(seconds=5.0, capacity=7)
    now = 0.0
    for key, pause in requests:
        now += pause
        if seen.find(key, now) is None:
            seen.begin(key, now)
        assert 0 < len(seen) <= 7
        assert seen.find(key, now) is not None
