"""The device's own tunnel beside a user tunnel: who connects is judged at once, who is connected has a moment."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.access.own_tunnel import GRACE
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.count_cuts import Cuts, count_cuts
from evertunnel.actions.decide import Decider
from evertunnel.actions.end_own_tunnel_changes import end_own_tunnel_changes
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions, list_unentitled
from evertunnel.actions.follow_tunnel import TunnelReport, close_sessions, follow_rekey, open_device_session
from evertunnel.actions.import_access_policies import import_access_policies, switch_access_policy
from evertunnel.actions.move_tunnel import move_tunnel
from evertunnel.actions.reconcile_gateway import ListedTunnel, reconcile_gateway
from evertunnel.model import Decision, Gateway, Reason, Session, SessionState, TunnelKind
from evertunnel.storage import sessions, tables
from evertunnel.storage.snapshot import Changes
from tests.installation import ADMIN, ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document

HOME, AWAY = "192.0.2.7", "203.0.113.9"
DEVICE = TunnelReport(1, "d_1", HOME, LAPTOP, "10.30.0.1")
USER = TunnelReport(7, "u_7", HOME, ALICE, "10.31.0.1")
DEMAND = make_document(name="own tunnel") | {"grantControls": None, "evertunnel": {"requireDeviceTunnel": True}}


class Scene:
    """Alice and her laptop, a gateway, and the policy that demands the laptop's own tunnel."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        installation.do(add_network_policy, "everything", {"permission": "grant"})
        gateway_id = installation.add_gateway()
        self.user_id, self.device_id = installation.add_user(), installation.add_device()
        self.certificate_id = installation.issue_user(self.user_id, device_id=self.device_id)
        self.device_certificate_id = installation.issue_device(self.device_id)
        self.decider = Decider()
        self.follow()
        gateway = self.decider.find_gateway(gateway_id)
        assert gateway is not None
        self.gateway: Gateway = gateway

    def follow(self) -> Changes:
        with self.installation.store.read() as connection:
            return self.decider.refresh(connection)

    def demand(self) -> None:
        self.installation.do(import_access_policies, DEMAND)
        self.follow()

    def do(self, action: Any, *arguments: Any) -> Any:
        """As the gateway's keeper does, and follow."""
        with self.installation.store.write(self.installation.now) as tx:
            self.decider.refresh(tx.connection)
            result = action(tx, *arguments)
        self.follow()
        return result

    def raise_device_tunnel(self, address: str = HOME) -> None:
        report = replace(DEVICE, remote_address=address, certificate_id=self.device_certificate_id)
        assert self.do(open_device_session, self.decider, self.gateway, report).granted

    def raise_user_tunnel(self, address: str = HOME) -> None:
        session = Session(
            "s1", TunnelKind.USER, SessionState.UP, self.gateway.id, 7, self.installation.now, user_id=self.user_id,
            device_id=self.device_id, certificate_id=self.certificate_id, spis="u_7", remote_address=address,
        )  # fmt: skip
        self.do(sessions.insert_sessions, [session])

    def connect(self, address: str = HOME) -> Decision:
        """What a login would get now."""
        certificate = self.decider.find_certificate_by_id(self.certificate_id)
        facts = self.decider.gather_facts(
            at=self.installation.now, tunnel=TunnelKind.USER, certificate=certificate, client_address=f"{address}[4500]"
        )
        return self.decider.decide_tunnel(facts)

    def decide_again(self) -> str:
        """Decide all live sessions; returns the state of Alice's."""
        self.do(lambda tx: end_unentitled_sessions(tx, self.decider, sessions.list_live(tx.connection)))
        return self.get_state()

    def get_state(self) -> str:
        with self.installation.store.read() as connection:
            row = sessions.find_session(connection, "s1")
        assert row is not None
        return str(row.state)

    def end_changes(self) -> int:
        ended = end_own_tunnel_changes(self.installation.store, now=self.installation.now)
        self.follow()
        return ended


@pytest.fixture
def scene(installation: Installation) -> Scene:
    return Scene(installation)


def test_a_login_is_granted_only_beside_the_devices_own_tunnel(scene: Scene) -> None:
    scene.demand()
    assert scene.connect().reason is Reason.DEVICE_TUNNEL_NOT_UP
    scene.raise_device_tunnel()
    assert scene.connect().granted
    assert scene.connect(AWAY).reason is Reason.DEVICE_TUNNEL_NOT_UP
    assert "is up from 192.0.2.7, not from 203.0.113.9" in scene.connect(AWAY).detail
    scene.do(close_sessions, scene.gateway, [DEVICE])
    assert scene.connect().reason is Reason.DEVICE_TUNNEL_NOT_UP, "who connects anew has no moment"


def test_a_tunnel_that_was_up_before_the_policy_counts(scene: Scene) -> None:
    scene.raise_device_tunnel()
    scene.demand()
    assert scene.connect().granted


def test_the_cuts_of_the_first_policy_that_demands_it_are_counted_with_the_tunnels_known(scene: Scene) -> None:
    scene.raise_user_tunnel()

    def count() -> Cuts:
        change = partial(import_access_policies, data=DEMAND, actor=ADMIN, now=scene.installation.now)
        return count_cuts(scene.installation.store, change, Decider(always=True), now=scene.installation.now)

    assert count() == Cuts(1, 1)
    scene.raise_device_tunnel()
    assert count() == Cuts(2, 0)


def test_another_devices_tunnel_behind_the_same_address_counts_for_nothing(scene: Scene) -> None:
    scene.demand()
    other = scene.installation.add_device("laptop2.corp.example")
    certificate_id = scene.installation.issue_device(other, name="laptop2.corp.example")
    report = replace(DEVICE, certificate_id=certificate_id)
    assert scene.do(open_device_session, scene.decider, scene.gateway, report).granted
    assert scene.connect().reason is Reason.DEVICE_TUNNEL_NOT_UP


def test_nobody_follows_tunnels_while_no_policy_asks(scene: Scene) -> None:
    epoch = scene.decider.epoch
    scene.raise_device_tunnel()
    scene.do(close_sessions, scene.gateway, [DEVICE])
    assert scene.decider.epoch == epoch
    with scene.installation.store.read() as connection:
        assert connection.execute(select(tables.own_tunnel_changes)).all() == []


def test_a_live_tunnel_has_a_moment_when_the_devices_own_ends(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    scene.raise_user_tunnel()
    scene.do(close_sessions, scene.gateway, [DEVICE])
    assert scene.decide_again() == "up"
    assert scene.end_changes() == 0
    scene.installation.clock.forward(seconds=GRACE.seconds)
    assert scene.end_changes() == 1
    assert scene.end_changes() == 0
    assert scene.decide_again() == "ending"


def test_it_stays_when_the_devices_own_is_dialled_again_within_it(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    scene.raise_user_tunnel()
    scene.do(close_sessions, scene.gateway, [DEVICE])
    scene.installation.clock.forward(seconds=GRACE.seconds - 5)
    scene.raise_device_tunnel()
    scene.installation.clock.forward(seconds=5)
    assert scene.end_changes() == 1
    assert scene.decide_again() == "up"


@pytest.mark.parametrize("first", [DEVICE, USER], ids=["device", "user"])
@pytest.mark.parametrize("by_look", [False, True], ids=["event", "look"])
def test_both_move_one_after_the_other(scene: Scene, first: TunnelReport, by_look: bool) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    scene.raise_user_tunnel()
    at = {DEVICE.spis: HOME, USER.spis: HOME}

    def move(report: TunnelReport) -> None:
        at[report.spis] = AWAY
        if by_look:
            listed = [
                ListedTunnel(kind, replace(each, remote_address=at[each.spis]), 1, 1)
                for kind, each in ((TunnelKind.DEVICE, DEVICE), (TunnelKind.USER, USER))
            ]
            assert scene.do(reconcile_gateway, scene.decider, scene.gateway, listed) == []
        else:
            assert scene.do(move_tunnel, scene.decider, scene.gateway, replace(report, remote_address=AWAY)) == []

    second = USER if first is DEVICE else DEVICE
    move(first)
    assert scene.get_state() == "up"
    assert scene.decide_again() == "up"
    scene.installation.clock.forward(seconds=4)
    move(second)
    scene.installation.clock.forward(seconds=GRACE.seconds)
    assert scene.end_changes() == 1
    assert scene.decide_again() == "up"


def test_a_user_tunnel_that_moved_alone_is_cut_after_it(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    scene.raise_user_tunnel()
    scene.do(move_tunnel, scene.decider, scene.gateway, replace(USER, remote_address=AWAY))
    assert scene.decide_again() == "up"
    scene.installation.clock.forward(seconds=20)
    # Moving on and on lengthens nothing.
    scene.do(move_tunnel, scene.decider, scene.gateway, replace(USER, remote_address="203.0.113.10"))
    scene.installation.clock.forward(seconds=GRACE.seconds - 20)
    assert scene.end_changes() == 1
    assert scene.decide_again() == "ending"


def test_a_rekey_is_no_change(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    epoch = scene.decider.epoch
    scene.do(follow_rekey, scene.gateway, DEVICE, replace(DEVICE, unique_id=2, spis="d_2"))
    assert scene.decider.epoch == epoch
    assert scene.connect().granted


def test_a_policy_switched_on_ends_at_once_what_never_had_it(scene: Scene) -> None:
    scene.installation.do(import_access_policies, {**DEMAND, "state": "disabled"})
    scene.raise_user_tunnel()
    assert scene.decide_again() == "up"
    scene.installation.do(switch_access_policy, "own tunnel", "on")
    assert scene.follow().everybody
    assert scene.decide_again() == "ending"


def test_a_tunnel_that_comes_and_goes_touches_no_session_by_itself(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    with scene.installation.store.write(scene.installation.now) as tx:
        scene.decider.refresh(tx.connection)
        close_sessions(tx, scene.gateway, [DEVICE])
    assert scene.follow() == Changes()
    scene.installation.clock.forward(seconds=GRACE.seconds)
    end_own_tunnel_changes(scene.installation.store, now=scene.installation.now)
    assert scene.follow().ids == {scene.device_id}


def test_whoever_reads_only_sessions_that_a_change_names_reads_the_one_beside_it(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    scene.raise_user_tunnel()
    scene.do(close_sessions, scene.gateway, [DEVICE])
    scene.installation.clock.forward(seconds=GRACE.seconds)
    end_own_tunnel_changes(scene.installation.store, now=scene.installation.now)
    changes = scene.follow()
    assert not changes.everybody
    with scene.installation.store.read() as connection:
        rows = sessions.list_live_of_owners(connection, scene.gateway.id, changes.ids)
    assert [row.id for row, _why in list_unentitled(scene.decider, rows, now=scene.installation.now)] == ["s1"]


def test_a_look_when_it_is_nobodys_turn_gives_a_moment_to_who_moved_and_notes_it(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    scene.raise_user_tunnel()
    listed = [
        ListedTunnel(TunnelKind.DEVICE, DEVICE, 1, 1),
        ListedTunnel(TunnelKind.USER, replace(USER, remote_address=AWAY), 1, 1),
    ]
    look = partial(reconcile_gateway, decided=frozenset())
    assert scene.do(look, scene.decider, scene.gateway, listed) == []
    assert scene.get_state() == "up"
    scene.installation.clock.forward(seconds=GRACE.seconds)
    assert scene.end_changes() == 1
    assert scene.decide_again() == "ending"


def test_many_that_end_at_once_are_all_missed(scene: Scene) -> None:
    scene.demand()
    scene.raise_device_tunnel()
    scene.raise_user_tunnel()
    with scene.installation.store.read() as connection:
        (device_session,) = (row.id for row in sessions.list_live(connection) if row.kind == TunnelKind.DEVICE.value)
    scene.do(sessions.mark_ending, [device_session, *(f"other{number}" for number in range(1_200))], "denied")
    scene.installation.clock.forward(seconds=GRACE.seconds)
    assert scene.end_changes() == 1
    assert scene.decide_again() == "ending"


def test_a_network_policy_may_demand_it_too(installation: Installation) -> None:
    scene = Scene(installation)
    installation.do(
        add_network_policy, "first", {"permission": "deny", "conditions": {"device_tunnel": True}}, position=1
    )
    scene.follow()
    assert scene.connect().granted
    scene.raise_device_tunnel()
    assert scene.connect().reason is Reason.NETWORK_POLICY_DENIES
