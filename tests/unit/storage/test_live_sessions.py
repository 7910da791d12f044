"""Live sessions as they are decided again are the same as their whole rows, and as quick to find by their owners."""

import pytest

from evertunnel.model import Session, SessionState, TunnelKind
from evertunnel.storage import live_sessions, sessions
from evertunnel.storage.live_sessions import LiveSession
from tests.installation import Installation

NAMES = [name for name in LiveSession._fields if name not in ("created", "bound")]


def fill(installation: Installation) -> None:
    bound = [None, True, False]
    made = [
        Session(
            f"s{number}", TunnelKind.USER, state, "g1", number, installation.clock.forward(seconds=0.000_001),
            user_id=f"u{number}", device_id=f"d{number}" if number % 2 else None, certificate_id=f"c{number % 3}",
            remote_address=f"192.0.2.{number}", method=["eap-tls", None][number % 2], crypto_bound=bound[number % 3],
        )
        for number, state in enumerate([*SessionState] * 3)
    ]  # fmt: skip
    other = Session("other", TunnelKind.USER, SessionState.UP, "g2", 99, installation.now, user_id="u1")
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [*made, other])


def test_they_say_the_same_as_their_rows(installation: Installation) -> None:
    fill(installation)
    with installation.store.read() as connection:
        rows = {row.id: row for row in sessions.list_live_of_gateway(connection, "g1")}
        found = {row.id: row for row in live_sessions.list_of_gateway(connection, "g1")}
        assert live_sessions.list_of_gateway(connection, "nowhere") == []
    assert found.keys() == rows.keys() and len(found) == 9
    for row_id, row in rows.items():
        same = found[row_id]
        assert [getattr(same, name) for name in NAMES] == [getattr(row, name) for name in NAMES]
        assert (same.created_at, same.crypto_bound) == (row.created_at, row.crypto_bound)
        assert same.crypto_bound is row.crypto_bound, "a number would not be the same as no"


@pytest.mark.parametrize("owner", ["u1", "d1", "c1", "s1", "nobody"])
def test_few_owners_find_what_many_find(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    fill(installation)
    with installation.store.read() as connection:
        few = {row.id for row in live_sessions.list_of_owners(connection, "g1", {owner})}
        monkeypatch.setattr(sessions, "NAMED_AT_MOST", 0)
        assert {row.id for row in live_sessions.list_of_owners(connection, "g1", {owner})} == few
    assert bool(few) == (owner != "nobody")
