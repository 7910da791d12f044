"""Silence counts only after we listened long enough, and not over a clock that was set."""

from datetime import UTC, datetime, timedelta

import pytest

from evertunnel.servers.listening import Listening

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
LONG = timedelta(minutes=15)


def listen(minutes: int, *, step_at: int | None = None, step: timedelta = timedelta(0)) -> list[bool]:
    listening = Listening()
    answers = []
    for minute in range(minutes):
        now = NOON + timedelta(minutes=minute) + (step if step_at is not None and minute >= step_at else timedelta(0))
        answers.append(listening.has_lasted(LONG, now=now, uptime=60.0 * minute))
    return answers


def test_at_first_there_is_no_silence() -> None:
    assert listen(20).index(True) == 15


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_was_set_begins_it_anew(step: timedelta) -> None:
    answers = listen(60, step_at=30, step=step)
    assert answers[29]
    assert not any(answers[30:45])
    assert answers[45]
