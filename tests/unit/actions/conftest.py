"""EVERYWHERE=postgresql runs every test here with either kind of database; otherwise SQLite alone, which is quicker."""

import os

import pytest

from tests.installation import Installation

if os.environ.get("EVERYWHERE") == "postgresql":

    @pytest.fixture
    def installation(either_installation: Installation) -> Installation:
        return either_installation
