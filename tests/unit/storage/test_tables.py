"""Times in the database: whole microseconds, aware, and the same when they come back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from evertunnel.storage.tables import decode_time, encode_time, metadata

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
NAIVE = NOON.replace(tzinfo=None)


@given(st.datetimes(NAIVE.replace(year=1900), NAIVE.replace(year=2200), timezones=st.just(UTC)))
def test_a_time_comes_back_to_the_microsecond(moment: datetime) -> None:
    assert decode_time(encode_time(moment)) == moment


def test_the_same_moment_in_another_zone_is_the_same_number() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-7)))
    assert encode_time(elsewhere) == encode_time(NOON)


def test_a_time_without_zone_is_a_bug_and_not_a_guess() -> None:
    with pytest.raises(TypeError):
        encode_time(NAIVE)


def test_every_table_can_be_made() -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    engine.dispose()
