"""What is said of gateways that confirmed, did not, or are not asked any more."""

from typing import Any

import pytest

from evertunnel.cli.confirmations import describe, list_unconfirmed, watch

PENDING: dict[str, Any] = {
    "state": "pending", "milliseconds": None, "acknowledged_milliseconds": None, "tries": 0, "last_error": ""
}  # fmt: skip
CONFIRMED = PENDING | {"state": "confirmed", "milliseconds": 12.4}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (CONFIRMED, "confirmed after 12 ms, no tunnel left"),
        (PENDING | {"state": "dropped", "last_error": "allowed again"}, "not asked any more: allowed again"),
        (
            PENDING | {"acknowledged_milliseconds": 3.0},
            "acknowledged after 3 ms, NOT CONFIRMED yet: nobody has seen it so far",
        ),
        (PENDING, "NOT CONFIRMED yet, the first try is going on: it has not answered yet"),
        (PENDING | {"tries": 2, "last_error": "it is away"}, "NOT CONFIRMED after 2 tries: it is away"),
    ],
)
def test_in_words(row: dict[str, Any], told: str) -> None:
    assert describe(row) == told


def test_looking_ends_with_the_last_confirmation_and_with_the_time() -> None:
    looks = iter([[PENDING, CONFIRMED], [CONFIRMED, CONFIRMED]])
    assert watch([PENDING, PENDING], lambda: next(looks), seconds=60) == [CONFIRMED, CONFIRMED]
    assert list_unconfirmed(watch([PENDING], lambda: [PENDING], seconds=0)) == [PENDING]
    assert watch([], lambda: next(looks), seconds=60) == []
