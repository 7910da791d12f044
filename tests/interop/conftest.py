"""Servers for the tests here."""

from collections.abc import Iterator

import pytest

from tests.interop.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One served installation for all tests of a file."""
    made = Server()
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def fresh() -> Iterator[Server]:
    """A place for an installation of the test's own; nothing is made or started yet."""
    made = Server()
    yield made
    made.remove()
