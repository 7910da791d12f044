"""A client that moves (MOBIKE) is decided again where it is now, by an event or by the next look."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.add_template_policy import add_template_policy
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.follow_tunnel import TunnelReport
from evertunnel.actions.import_access_policies import switch_access_policy
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.actions.move_tunnel import move_tunnel
from evertunnel.actions.reconcile_gateway import ListedTunnel, is_settled, reconcile_gateway
from evertunnel.model import Gateway, Session, SessionState, TunnelKind
from evertunnel.storage import effect_queue, sessions, tables
from tests.installation import ALICE, Installation

HOME, AWAY, BLOCKED = "192.0.2.7", "203.0.113.9", "198.51.100.7"
COUNTRIES = {HOME: "DE", AWAY: "FR", BLOCKED: "KP"}
REPORT = TunnelReport(7, "a_b", HOME, ALICE, "10.31.0.1")
Ready = tuple[Installation, Gateway, Decider]


@pytest.fixture
def ready(installation: Installation) -> Ready:
    """Alice's tunnel is up from home; a policy blocks a country."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(add_template_policy, "block-countries", countries=["KP"], on=True)
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    certificate_id = installation.issue_user(user_id)
    session = Session(
        "s1", TunnelKind.USER, SessionState.UP, gateway_id, 7, installation.now, user_id=user_id, spis="a_b",
        certificate_id=certificate_id, remote_address=HOME,
    )  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [session])
    decider = Decider(lambda address: COUNTRIES.get(str(address)))
    with installation.store.read() as connection:
        decider.refresh(connection)
    gateway = decider.find_gateway(gateway_id)
    assert gateway is not None
    return installation, gateway, decider


def by_event(ready: Ready, address: str) -> None:
    installation, gateway, decider = ready
    with installation.store.write(installation.now) as tx:
        decider.refresh(tx.connection)
        move_tunnel(tx, decider, gateway, replace(REPORT, remote_address=address))


def by_look(ready: Ready, address: str) -> None:
    installation, gateway, decider = ready
    listed = [ListedTunnel(TunnelKind.USER, replace(REPORT, remote_address=address), 1, 1)]
    with installation.store.write(installation.now) as tx:
        decider.refresh(tx.connection)
        live = sessions.list_live_of_gateway(tx.connection, gateway.id)
        assert live[0].remote_address == address or not is_settled(decider, live, listed, now=tx.now)
        assert reconcile_gateway(tx, decider, gateway, listed) == []


def get(installation: Installation) -> Any:
    with installation.store.read() as connection:
        return connection.execute(select(tables.sessions)).one()


@pytest.mark.parametrize("move", [by_event, by_look], ids=["event", "look"])
def test_the_new_address_is_stored_and_counts(ready: Ready, move: Callable[[Ready, str], None]) -> None:
    installation, gateway, _ = ready
    for address in (HOME, AWAY):
        move(ready, address)
        assert (get(installation).state, get(installation).remote_address) == ("up", address)
    move(ready, BLOCKED)
    row = get(installation)
    assert (row.state, row.remote_address, row.end_reason) == ("ending", BLOCKED, "blocked_by_access_policy")
    with installation.store.read() as connection:
        (effect,) = effect_queue.list_pending(connection, gateway.id)
    assert effect.subject_id == "s1"


def test_a_tunnel_of_other_indexes_or_one_that_is_not_up_is_not_moved(ready: Ready) -> None:
    installation, gateway, decider = ready
    with installation.store.write(installation.now) as tx:
        assert move_tunnel(tx, decider, gateway, replace(REPORT, spis="c_d", remote_address=BLOCKED)) == []
        sessions.update_session(tx, "s1", state=SessionState.PENDING.value)
        assert move_tunnel(tx, decider, gateway, replace(REPORT, remote_address=BLOCKED)) == []
    assert get(installation).remote_address == HOME


def test_a_location_that_changes_concerns_everybody(ready: Ready) -> None:
    installation, _, decider = ready
    with installation.store.read() as connection:
        decider.refresh(connection)
    installation.do(add_named_location, "VPN: block countries", countries=["DE"], replace=True)
    with installation.store.read() as connection:
        assert decider.refresh(connection).everybody
    by_look(ready, HOME)
    assert get(installation).state == "ending"


def test_no_country_is_looked_up_unless_a_policy_that_counts_asks(ready: Ready) -> None:
    installation, _, _ = ready
    asked: list[str] = []
    decider = Decider(lambda address: asked.append(str(address)))  # type: ignore[func-returns-value]

    def gather(address: str) -> str | None:
        with installation.store.read() as connection:
            decider.refresh(connection)
        facts = decider.gather_facts(at=installation.now, tunnel=TunnelKind.USER, client_address=address)
        return facts.sign_in.country

    installation.do(switch_access_policy, "VPN: block countries", "off")
    gather(HOME)
    assert asked == []
    installation.do(switch_access_policy, "VPN: block countries", "report-only")
    gather("192.0.2.7[4500]")
    gather("::ffff:192.0.2.8")
    gather("")
    gather("no address")
    assert asked == ["192.0.2.7", "192.0.2.8"]


def test_without_a_database_a_country_that_is_blocked_blocks_everybody(ready: Ready) -> None:
    installation, gateway, _ = ready
    decider = Decider()
    with installation.store.read() as connection:
        decider.refresh(connection)
    by_look((installation, gateway, decider), HOME)
    assert get(installation).state == "ending"
