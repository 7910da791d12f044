"""Each gets its turn, whoever comes and goes."""

from evertunnel.gateways.rotation import Rotation


def test_few_are_taken_whole() -> None:
    assert Rotation(3).take(["c", "a", "b"]) == {"a", "b", "c"}


def test_each_has_its_turn_and_it_begins_anew() -> None:
    rotation, ids = Rotation(2), "abcde"
    assert [sorted(rotation.take(ids)) for _ in range(4)] == [["a", "b"], ["c", "d"], ["a", "e"], ["b", "c"]]


def test_who_comes_and_goes_costs_nobody_the_turn() -> None:
    rotation = Rotation(2)
    assert rotation.take("bdfh") == {"b", "d"}
    assert rotation.take("acefh") == {"e", "f"}
    assert rotation.take("acefh") == {"a", "h"}
