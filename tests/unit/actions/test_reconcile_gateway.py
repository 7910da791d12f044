"""What a gateway has against what it should have: the difference is cut, recorded or closed."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.change_network_policies import add_network_policy, remove_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.follow_tunnel import TunnelReport
from evertunnel.actions.reconcile_gateway import ListedTunnel, is_settled, reconcile_gateway
from evertunnel.model import Gateway, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import sessions, tables
from tests.installation import ALICE, Installation

TUNNEL = ListedTunnel(TunnelKind.USER, TunnelReport(7, "a_b", "192.0.2.7", ALICE, "10.31.0.1"), 100, 200)


@pytest.fixture
def ready(installation: Installation) -> tuple[Installation, Gateway, str]:
    """Everything is granted; a gateway, and a session of Alice that is up with the tunnel above."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    certificate_id = installation.issue_user(user_id)
    installation.refresh()
    gateway = installation.decider.find_gateway(gateway_id)
    assert gateway is not None
    insert(installation, gateway, "s1", user_id=user_id, certificate_id=certificate_id)
    return installation, gateway, certificate_id


def insert(installation: Installation, gateway: Gateway, session_id: str, **columns: Any) -> None:
    values: dict[str, Any] = {"state": SessionState.UP, "unique_id": 7, "spis": "a_b"}
    values |= {"remote_address": "192.0.2.7", **columns}
    made = Session(session_id, TunnelKind.USER, gateway_id=gateway.id, created_at=installation.now, **values)
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [made])


def reconcile(installation: Installation, gateway: Gateway, *listed: ListedTunnel) -> list[int]:
    """What says that there is nothing to do must be right each time."""
    before = list_states(installation)
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        live = sessions.list_live_of_gateway(tx.connection, gateway.id)
        settled = is_settled(installation.decider, live, listed, now=tx.now)
        cut = reconcile_gateway(tx, installation.decider, gateway, listed)
    assert settled == (not cut and before == list_states(installation))
    return cut


def list_states(installation: Installation) -> dict[str, str]:
    with installation.store.read() as connection:
        return dict(connection.execute(select(tables.sessions.c.id, tables.sessions.c.state)).all())


def get(installation: Installation, session_id: str = "s1") -> Any:
    with installation.store.read() as connection:
        return connection.execute(select(tables.sessions).where(tables.sessions.c.id == session_id)).one()


def test_a_tunnel_with_its_session_stays_and_its_traffic_is_kept(ready: tuple[Installation, Gateway, str]) -> None:
    installation, gateway, _ = ready
    assert reconcile(installation, gateway, TUNNEL) == []
    row = get(installation)
    assert (row.state, row.bytes_in, row.bytes_out, row.seen_at) == ("up", 100, 200, installation.now)


def test_a_session_without_tunnel_ends(ready: tuple[Installation, Gateway, str]) -> None:
    installation, gateway, _ = ready
    assert reconcile(installation, gateway) == []
    assert (get(installation).state, get(installation).end_reason) == ("ended", "the gateway no longer has the tunnel")


def test_a_tunnel_without_session_is_cut_and_on_record(ready: tuple[Installation, Gateway, str]) -> None:
    installation, gateway, _ = ready
    stranger = replace(TUNNEL, report=replace(TUNNEL.report, unique_id=8, spis="c_d"))
    assert reconcile(installation, gateway, TUNNEL, stranger) == [8]
    with installation.store.read() as connection:
        [row] = connection.execute(select(tables.attempts)).all()
    assert row.reason == "tunnel_not_recognised"


def test_a_device_tunnel_that_was_not_seen_coming_up_is_decided_now(ready: tuple[Installation, Gateway, str]) -> None:
    installation, gateway, users_certificate = ready
    certificate_id = installation.issue_device(installation.add_device())
    report = replace(TUNNEL.report, unique_id=9, spis="e_f")
    good = ListedTunnel(TunnelKind.DEVICE, replace(report, certificate_id=certificate_id), 0, 0)
    other = replace(report, unique_id=10, spis="g_h", certificate_id=users_certificate)
    bad = ListedTunnel(TunnelKind.DEVICE, other, 0, 0)
    assert reconcile(installation, gateway, TUNNEL, good, bad) == [10]
    assert reconcile(installation, gateway, TUNNEL, good) == []


def test_a_tunnel_of_a_session_that_is_ending_is_cut_again(ready: tuple[Installation, Gateway, str]) -> None:
    installation, gateway, _ = ready
    installation.do(deny, SubjectKind.USER, ALICE, reason="left")
    assert reconcile(installation, gateway, TUNNEL) == [7]
    assert get(installation).state == "ending"


@pytest.mark.parametrize(("seconds", "state"), [(59, "pending"), (61, "ended")])
def test_a_session_waits_a_minute_for_its_tunnel(
    ready: tuple[Installation, Gateway, str], seconds: int, state: str
) -> None:
    installation, gateway, certificate_id = ready
    insert(installation, gateway, "s2", state=SessionState.PENDING, unique_id=11, spis="",
           certificate_id=certificate_id)  # fmt: skip
    installation.clock.forward(seconds=seconds)
    reconcile(installation, gateway, TUNNEL)
    assert get(installation, "s2").state == state


@pytest.mark.parametrize("seconds", [0, 90])
def test_a_pending_session_whose_tunnel_is_listed_comes_up(
    ready: tuple[Installation, Gateway, str], seconds: int
) -> None:
    """However late: we may have been away when it came up."""
    installation, gateway, certificate_id = ready
    insert(installation, gateway, "s2", state=SessionState.PENDING, unique_id=11, spis="",
           certificate_id=certificate_id)  # fmt: skip
    installation.clock.forward(seconds=seconds)
    late = replace(TUNNEL, report=replace(TUNNEL.report, unique_id=11, spis="x_y"))
    assert reconcile(installation, gateway, TUNNEL, late) == []
    assert get(installation, "s2").state == "up"


def test_a_live_session_that_lost_its_right_is_ending_after_looking(ready: tuple[Installation, Gateway, str]) -> None:
    installation, gateway, _ = ready
    installation.do(remove_network_policy, "everything")
    reconcile(installation, gateway, TUNNEL)
    assert (get(installation).state, get(installation).end_reason) == ("ending", "no_network_policy")


def test_a_tunnel_with_a_fault_is_cut_and_its_session_says_why(ready: tuple[Installation, Gateway, str]) -> None:
    installation, gateway, _ = ready
    assert reconcile(installation, gateway, replace(TUNNEL, fault="nothing went through")) == [7]
    assert (get(installation).state, get(installation).end_reason) == ("ending", "nothing went through")
