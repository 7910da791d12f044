"""Every test here runs with either kind of database."""

import pytest

from tests.installation import Installation


@pytest.fixture
def installation(either_installation: Installation) -> Installation:
    return either_installation
