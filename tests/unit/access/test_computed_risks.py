"""What is found in attempts: travel nobody can have made, and failures that are no person's. Little is claimed."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from evertunnel.access.computed_risks import (
    AttemptMemory,
    Failure,
    Finding,
    Place,
    Sighting,
    find_travel,
    join_findings,
    measure_km,
)
from tests.unit.access.samples import NOW

BERLIN, MUNICH, LISBON = Place(52.52, 13.40, 20), Place(48.14, 11.58, 20), Place(38.72, -9.14, 20)
SYDNEY, FIJI, TONGA = Place(-33.87, 151.21, 20), Place(-17.71, 178.06, 5), Place(-21.18, -175.20, 5)


def see(place: Place, *, hours: float = 0, key: str = "d1", user: str = "u1") -> Sighting:
    return Sighting(user, key, NOW + timedelta(hours=hours), "192.0.2.7", place)


@pytest.mark.parametrize(
    ("one", "other", "kilometres"),
    [(BERLIN, MUNICH, 504), (BERLIN, SYDNEY, 16_094), (FIJI, TONGA, 807), (BERLIN, BERLIN, 0)],
)
def test_distances_over_poles_and_date_line(one: Place, other: Place, kilometres: float) -> None:
    assert measure_km(one, other) == pytest.approx(kilometres, rel=0.01)
    assert measure_km(Place(90, 0, 0), Place(-90, 77, 0)) == pytest.approx(20_015, rel=0.01)


@pytest.mark.parametrize(
    ("first", "second", "level"),
    [
        (see(BERLIN), see(SYDNEY, hours=0.5), "high"),
        (see(BERLIN), see(SYDNEY, hours=16.0), "high"),
        (see(BERLIN), see(SYDNEY, hours=16.2), None),  # an aeroplane's time
        (see(BERLIN), see(LISBON, hours=1), "high"),
        (see(BERLIN), see(LISBON, hours=2.4), None),
        (see(BERLIN), see(MUNICH), None),  # less than addresses of one provider wander
        (see(Place(52.52, 13.40, 100)), see(Place(48.86, 2.35, 100)), "medium"),
        (see(Place(52.52, 13.40, 400)), see(Place(48.86, 2.35, 100)), None),  # 877 km, give or take 500
        (see(BERLIN), see(SYDNEY, key="d2"), "medium"),  # a computer at home keeps its tunnel
        (see(Place(52.52, 13.40, 100)), see(Place(48.86, 2.35, 100), key="d2"), "low"),
        (see(SYDNEY, hours=0.5), see(BERLIN), "high"),  # recorded in another order
    ],
)
def test_travel(first: Sighting, second: Sighting, level: str | None) -> None:
    found = find_travel(first, second)
    assert (found.level if found else None) == level


def test_what_was_found_says_from_what() -> None:
    found = find_travel(see(BERLIN), see(SYDNEY, hours=0.5))
    assert found is not None
    assert found.detail == (
        "one key: 192.0.2.7 at 2026-05-04 12:30:00 and 192.0.2.7 at 2026-05-04 13:00:00 UTC, 16,095 km apart, "
        "give or take 40"
    )


def test_one_user_is_never_compared_with_another() -> None:
    memory = AttemptMemory()
    assert memory.see(see(BERLIN)) is None
    assert memory.see(see(SYDNEY, user="u2")) is None
    assert memory.see(see(SYDNEY)) is not None


def test_a_key_is_compared_with_where_it_was_last_and_with_the_other_devices() -> None:
    memory = AttemptMemory()
    memory.see(see(BERLIN, key="desktop"))
    memory.see(see(BERLIN))
    memory.see(see(LISBON, hours=3))
    found = memory.see(see(SYDNEY, hours=4))
    assert found is not None
    assert found.level == "high", "the desktop alone would be medium"


def fail(memory: AttemptMemory, times: int, *, minutes: float = 0, tokens: Iterable[str] = ()) -> Finding | None:
    names = list(tokens) or [f"{minutes} {number}" for number in range(times)]
    return [memory.fail(Failure("u1", NOW + timedelta(minutes=minutes), name)) for name in names][-1]


@pytest.mark.parametrize(
    ("times", "level"), [(4, None), (5, "low"), (9, "low"), (10, "medium"), (19, "medium"), (20, "high"), (99, "high")]
)
def test_failures_within_an_hour(times: int, level: str | None) -> None:
    found = fail(AttemptMemory(), times)
    assert (found.level if found else None) == level


def test_failures_of_an_hour_ago_count_no_more() -> None:
    memory = AttemptMemory()
    fail(memory, 9)
    found = fail(memory, 1, minutes=59)
    assert found is not None
    assert found.level == "medium"
    assert fail(memory, 3, minutes=60) is None


def test_a_client_that_says_the_same_for_ever_fails_once() -> None:
    assert fail(AttemptMemory(), 0, tokens=["c1 identity_mismatch bob"] * 50) is None
    assert fail(AttemptMemory(), 0, tokens=[f"c1 identity_mismatch {name}" for name in range(5)]) is not None


def test_what_was_dismissed_is_found_no_more_and_what_comes_after_is() -> None:
    travel = find_travel(see(BERLIN), see(SYDNEY, hours=1))
    assert travel is not None
    assert travel.without(NOW - timedelta(seconds=1)) == travel
    assert travel.without(NOW) is None, "a place from before is no evidence against one from after"
    memory = AttemptMemory()
    fail(memory, 20)
    later = fail(memory, 5, minutes=10)
    assert later is not None
    assert later.level == "high"
    left = later.without(NOW + timedelta(minutes=1))
    assert left is not None
    assert (left.level, len(left.moments)) == ("low", 5)
    assert later.without(NOW + timedelta(minutes=10)) is None


def test_of_what_was_found_at_once_the_highest_is_kept() -> None:
    low, high = (find_travel(see(BERLIN), see(SYDNEY, hours=1, key=key)) for key in ("d2", "d1"))
    assert low is not None
    assert high is not None
    assert list(join_findings([high, low]).values()) == [high]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evertunnel.access.computed_risks._USERS_AT_MOST", 100)
    memory = AttemptMemory()
    for number in range(300):
        memory.see(see(BERLIN, user=f"u{number}"))
        memory.fail(Failure(f"u{number}", NOW, "x"))
        memory.see(see(BERLIN, key=f"d{number}", user="u"))
    assert memory.see(see(SYDNEY, user="u0")) is None, "forgotten: nothing is claimed"
    assert memory.see(see(SYDNEY, user="u299")) is not None
    assert len(memory._sightings) == len(memory._failures) == 100
    assert len(memory._sightings["u"]) == 8
