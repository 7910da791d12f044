"""The bounded table of open conversations (RFC 2865 5.24)."""

from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.eap.open_conversations import OpenConversations


def test_a_conversation_is_taken_once_by_its_state_and_gateway() -> None:
    table: OpenConversations[str] = OpenConversations()
    assert table.put(b"state", "gw1", "alice", 0.0) is None
    assert table.take(b"state", "gw1", 1.0) == "alice"
    assert table.take(b"state", "gw1", 1.0) is None
    assert len(table) == 0


def test_an_unknown_state_takes_nothing() -> None:
    table: OpenConversations[str] = OpenConversations()
    table.put(b"state", "gw1", "alice", 0.0)
    assert table.take(b"other", "gw1", 0.0) is None
    assert table.take(b"", "gw1", 0.0) is None


def test_the_state_of_another_gateway_takes_nothing_and_disturbs_nothing() -> None:
    table: OpenConversations[str] = OpenConversations()
    table.put(b"state", "gw1", "alice", 0.0)
    assert table.take(b"state", "gw2", 0.0) is None
    assert table.take(b"state", "gw1", 0.0) == "alice"


def test_one_that_is_too_old_is_not_taken_but_expires_once() -> None:
    table: OpenConversations[str] = OpenConversations(seconds=30.0)
    table.put(b"old", "gw1", "alice", 0.0)
    table.put(b"young", "gw1", "bob", 10.0)
    assert table.take(b"old", "gw1", 30.1) is None
    assert list(table.expire(30.1)) == ["alice"]
    assert list(table.expire(30.1)) == []
    assert table.take(b"young", "gw1", 30.1) == "bob"


def test_one_of_exactly_its_age_is_still_open() -> None:
    table: OpenConversations[str] = OpenConversations(seconds=30.0)
    table.put(b"state", "gw1", "alice", 0.0)
    assert list(table.expire(30.0)) == []
    assert table.take(b"state", "gw1", 30.0) == "alice"


def test_the_oldest_makes_room_and_is_told_of() -> None:
    table: OpenConversations[str] = OpenConversations(capacity=2)
    assert table.put(b"1", "gw1", "alice", 0.0) is None
    assert table.put(b"2", "gw1", "bob", 0.0) is None
    assert table.put(b"3", "gw1", "carol", 0.0) == "alice"
    assert table.take(b"1", "gw1", 0.0) is None
    assert len(table) == 2


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "expire"]), st.integers(0, 9), st.floats(0, 20))))
def test_no_conversation_is_lost_and_none_comes_out_twice(steps: list[tuple[str, int, float]]) -> None:
    table: OpenConversations[int] = OpenConversations(seconds=30.0, capacity=3)
    now, made = 0.0, 0
    out: list[int] = []
    for verb, number, pause in steps:
        now += pause
        if verb == "put":
            evicted = table.put(f"{number} {made}".encode(), "gw1", made, now)
            out += [] if evicted is None else [evicted]
            made += 1
        elif verb == "take":
            taken = [table.take(f"{number} {which}".encode(), "gw1", now) for which in range(made)]
            out += [each for each in taken if each is not None]
        else:
            out += table.expire(now)
        assert len(table) <= 3
    out += table.expire(now + 31.0)
    assert sorted(out) == list(range(made))
