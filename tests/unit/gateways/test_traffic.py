"""Octets of a tunnel never go back: not when a child is rekeyed, not when the tunnel is, not when we start again."""

import pytest

from evertunnel.gateways.traffic import Idle, Traffic


def test_a_rekeyed_child_adds_to_what_the_old_one_counted() -> None:
    traffic = Traffic()
    assert traffic.count("a:b", {"1": (100, 200)}) == (100, 200)
    assert traffic.count("a:b", {"1": (110, 220), "2": (5, 6)}) == (115, 226)
    assert traffic.count("a:b", {"2": (50, 60)}) == (160, 280)


def test_a_rekeyed_tunnel_goes_on() -> None:
    traffic = Traffic()
    traffic.count("a:b", {"1": (100, 200)})
    traffic.follow_rekey("a:b", "c:d")
    assert traffic.count("c:d", {"1": (101, 202)}) == (101, 202)


def test_after_a_start_of_ours_what_was_stored_counts_on() -> None:
    traffic = Traffic()
    assert traffic.count("a:b", {"2": (50, 60)}, stored=(150, 250)) == (150, 250)
    assert traffic.count("a:b", {"2": (51, 70)}, stored=(150, 250)) == (151, 260)
    assert Traffic().count("a:b", {"2": (500, 600)}, stored=(150, 250)) == (500, 600)


def test_what_is_gone_is_forgotten() -> None:
    traffic = Traffic()
    traffic.count("a:b", {"1": (100, 200)})
    traffic.keep_only({"c:d"})
    assert traffic.count("a:b", {"1": (100, 200)}) == (100, 200)
    assert len(traffic._children) == len(traffic._before) == 1


@pytest.mark.parametrize(
    ("seen", "over"),
    [
        ([(0, False), (9, False)], False),
        ([(0, False), (11, False)], True),
        ([(0, False), (9, True), (11, False)], False),
        ([(0, True), (100, False)], False),
    ],
)
def test_a_tunnel_is_idle_when_it_has_no_child_for_long(seen: list[tuple[float, bool]], *, over: bool) -> None:
    idle = Idle(10)
    assert [idle.is_over("a:b", carries, uptime) for uptime, carries in seen][-1] is over
