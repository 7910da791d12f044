"""The bounded table of open conversations (RFC 2865 5.24)."""

from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.eap.open_conversations import OpenConversations
from evertunnel.protocols.eap.stage import Stage


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


def put(
    table: OpenConversations[str], name: str, stage: Stage, *, gateway: str = "gw1", now: float = 0.0
) -> str | None:
    return table.put(name.encode(), gateway, name, now, stage)


def test_what_holds_tls_has_a_bound_of_its_own() -> None:
    table: OpenConversations[str] = OpenConversations(capacity=3, tls_capacity=2)
    for name in ("a", "b", "c"):
        assert put(table, name, Stage.NOTHING) is None
    for name in ("d", "e"):
        assert put(table, name, Stage.CLIENT_HELLO) is None
    assert put(table, "f", Stage.CLIENT_HELLO) == "d"
    assert put(table, "g", Stage.NOTHING) == "a"
    assert len(table) == 5


def test_who_came_the_least_way_makes_room_first_and_then_who_waits_longest() -> None:
    table: OpenConversations[str] = OpenConversations(tls_capacity=3)
    put(table, "far", Stage.ANSWERING, now=0.0)
    put(table, "old", Stage.CLIENT_HELLO, now=1.0)
    put(table, "young", Stage.CLIENT_HELLO, now=2.0)
    assert [put(table, f"new {number}", Stage.CLIENT_HELLO, now=3.0) for number in range(3)] == [
        "old",
        "young",
        "new 0",
    ]
    assert table.take(b"far", "gw1", 3.0) == "far"


def test_a_login_near_its_end_outlasts_any_number_of_beginners() -> None:
    table: OpenConversations[str] = OpenConversations(capacity=10, tls_capacity=10)
    put(table, "ending", Stage.ENDING)
    for number in range(1_000):
        put(table, f"beginner {number}", Stage.NOTHING)
        put(table, f"half-open {number}", Stage.CLIENT_HELLO)
    assert table.take(b"ending", "gw1", 0.0) == "ending"


def test_who_stops_far_on_keeps_no_beginner_out() -> None:
    table: OpenConversations[str] = OpenConversations(tls_capacity=100)
    for number in range(100):
        put(table, f"attacker {number}", Stage.ANSWERING, now=0.0)
    for number in range(20):
        for stage in (Stage.CLIENT_HELLO, Stage.ANSWERING):
            evicted = put(table, "honest", stage, now=1.0)
            assert evicted is None or evicted.startswith("attacker")
            assert table.take(b"honest", "gw1", 1.0) == "honest"
        put(table, f"attacker again {number}", Stage.ANSWERING, now=2.0)


def test_a_gateway_takes_no_place_of_another() -> None:
    table: OpenConversations[str] = OpenConversations(tls_capacity=10)
    for number in range(5):
        put(table, f"honest {number}", Stage.CLIENT_HELLO, gateway="gw2")
    evicted = [put(table, f"flood {number}", Stage.ANSWERING, gateway="gw1") for number in range(1_000)]
    assert {name.partition(" ")[0] for name in evicted if name} == {"flood"}
    assert put(table, "honest 5", Stage.CLIENT_HELLO, gateway="gw2") is not None, "who has half of it is not spared"
    assert sum(table.take(f"honest {number}".encode(), "gw2", 0.0) is not None for number in range(6)) >= 5


def test_a_gateway_that_comes_late_gets_its_share() -> None:
    table: OpenConversations[str] = OpenConversations(tls_capacity=9)
    for number in range(9):
        put(table, f"first {number}", Stage.ANSWERING, gateway="gw1")
    for gateway in ("gw2", "gw3"):
        evicted = [put(table, f"{gateway} {number}", Stage.CLIENT_HELLO, gateway=gateway) for number in range(3)]
        assert None not in evicted
        assert not any(name.startswith(gateway) for name in evicted if name)
    assert sum(table.take(f"first {number}".encode(), "gw1", 0.0) is not None for number in range(9)) == 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "take", "expire"]),
            st.integers(0, 9),
            st.floats(0, 20),
            st.sampled_from(list(Stage)),
        )
    )
)
def test_no_conversation_is_lost_and_none_comes_out_twice(steps: list[tuple[str, int, float, Stage]]) -> None:
    table: OpenConversations[int] = OpenConversations(seconds=30.0, capacity=3, tls_capacity=2)
    now, made = 0.0, 0
    out: list[int] = []
    for verb, number, pause, stage in steps:
        now += pause
        if verb == "put":
            evicted = table.put(f"{number} {made}".encode(), f"gw{number % 2}", made, now, stage)
            out += [] if evicted is None else [evicted]
            made += 1
        elif verb == "take":
            taken = [table.take(f"{number} {which}".encode(), f"gw{number % 2}", now) for which in range(made)]
            out += [each for each in taken if each is not None]
        else:
            out += table.expire(now)
        assert len(table) <= 5
    out += table.expire(now + 31.0)
    assert sorted(out) == list(range(made))
