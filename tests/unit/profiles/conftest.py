"""One thousand profiles, made once: making them costs more than any format."""

import pytest
from hypothesis import HealthCheck, given, settings

from evertunnel.profiles.model import Profile
from tests.unit.profiles.strategies import profiles


@pytest.fixture(scope="session")
def thousand_profiles() -> list[Profile]:
    """As hypothesis makes them, another thousand at each run."""
    made: list[Profile] = []

    @settings(max_examples=1_000, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(profiles())
    def collect(profile: Profile) -> None:
        made.append(profile)

    collect()
    assert len(made) >= 1_000
    return made
