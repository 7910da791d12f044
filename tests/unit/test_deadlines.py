"""What time ends is looked for apart: one that cannot be looked for keeps no other from ending."""

import threading
from collections.abc import Callable

import pytest

from evertunnel import deadlines
from evertunnel.errors import UnavailableError
from tests.installation import Installation

LOOKS = ("end_denials", "end_access_trust", "end_facts", "end_own_tunnel_changes")


@pytest.mark.parametrize("error", [KeyError("a bug"), UnavailableError("the database is away")])
@pytest.mark.parametrize("broken", LOOKS)
def test_one_that_fails_keeps_no_other_from_ending(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception
) -> None:
    stopped, looked = threading.Event(), set()

    def make(name: str) -> Callable[..., int]:
        def look(*_arguments: object, **_options: object) -> int:
            looked.add(name)
            if looked == set(LOOKS):
                stopped.set()
            if name == broken:
                raise error
            return 0

        return look

    for name in LOOKS:
        monkeypatch.setattr(deadlines, name, make(name))
    thread = threading.Thread(
        target=deadlines.keep_deadlines, args=(installation.store, installation.clock, stopped), daemon=True
    )
    thread.start()
    thread.join(timeout=10)
    stopped.set()
    assert looked == set(LOOKS)
    assert not thread.is_alive()
