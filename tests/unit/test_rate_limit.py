"""Buckets of tokens."""

from evertunnel.rate_limit import RateLimit, RateLimits


def test_a_second_has_so_many_and_saves_no_more() -> None:
    limit = RateLimit(per_second=3)
    assert [limit.allows(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [limit.allows(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [limit.allows(100.5) for _ in range(3)] == [True, False, False]


def test_a_burst_may_be_larger_or_smaller_than_a_second() -> None:
    limit = RateLimit(per_second=1 / 60, burst=1)
    assert [limit.allows(uptime) for uptime in (0.0, 59.0, 60.5, 61.0)] == [True, False, True, False]


def test_to_ask_takes_nothing() -> None:
    limit = RateLimit(per_second=1)
    assert [limit.is_open(0.0) for _ in range(5)] == [True] * 5
    assert limit.allows(0.0)
    assert not limit.is_open(0.5)


def test_each_has_its_own_and_the_longest_unasked_is_forgotten() -> None:
    limits = RateLimits(per_second=1, at_most=2)
    assert [limits.allows(key, 0.0) for key in "abab"] == [True, True, False, False]
    assert limits.allows("c", 0.0), "a made room"
    assert len(limits) == 2
    assert not limits.allows("b", 0.0)
    assert limits.is_open("a", 0.0)
    assert len(limits) == 2
