"""Every order in which a tunnel can come up while something is taken away: in none of them a tunnel stays.

A tunnel takes three steps (decided in the handshake, recorded, joined when the gateway reports it), taking away takes
two (its transaction, and the gateway's process deciding live sessions again): ten orders each.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import pytest
from sqlalchemy import select

from evertunnel.access.facts import COMPLIANT
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.authenticate import LoginFacts, decide_login, record_login
from evertunnel.actions.change_device import change_device
from evertunnel.actions.change_membership import join_group, leave_group
from evertunnel.actions.change_network_policies import (
    add_network_policy,
    remove_network_policy,
    switch_network_policy,
)
from evertunnel.actions.change_user import change_user
from evertunnel.actions.decide import Decider
from evertunnel.actions.deny import deny
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.follow_tunnel import TunnelReport, join_user_session, open_device_session
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.report_device import report_device
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.effects import EffectKind
from evertunnel.model import CertificateKind, Decision, Gateway, SessionState, SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.sessions import list_live_of_gateway
from tests.conftest import Template
from tests.installation import ALICE, LAPTOP, Installation, copy_installation
from tests.unit.access.samples import make_document

GROUP, POLICY = "VPN", "Members on compliant devices"
NUMBER, SPIS = 7, "00000000000000aa:00000000000000bb"

Take = Callable[["Scene"], None]


FROM_BOTH: dict[str, Take] = {
    "device denied": lambda scene: scene.do(deny, SubjectKind.DEVICE, LAPTOP, reason="test"),
    "device denied, certificates revoked": lambda scene: scene.do(
        deny, SubjectKind.DEVICE, LAPTOP, reason="test", revoke=True
    ),
    "device disabled": lambda scene: scene.do(change_device, LAPTOP, enabled=False),
    "policy off": lambda scene: scene.do(switch_network_policy, POLICY, enabled=False),
    "policy removed": lambda scene: scene.do(remove_network_policy, POLICY),
    "refused by a policy before it": lambda scene: scene.do(
        add_network_policy, "Nobody", {"permission": "deny"}, position=1
    ),
}
FROM_USER = FROM_BOTH | {
    "user denied": lambda scene: scene.do(deny, SubjectKind.USER, ALICE, reason="test"),
    "user disabled": lambda scene: scene.do(change_user, ALICE, enabled=False),
    "user left the group": lambda scene: scene.do(leave_group, GROUP, SubjectKind.USER, ALICE),
    "device taken from the user": lambda scene: scene.do(assign_device, LAPTOP, ALICE, assigned=False),
    "certificate revoked": lambda scene: scene.revoke(scene.user_certificate_id),
    "device not compliant": lambda scene: scene.report(compliant=False),
    "a policy on that blocks": lambda scene: scene.do(import_access_policies, make_document("block", name="nobody")),
}
FROM_DEVICE = FROM_BOTH | {
    "device left the group": lambda scene: scene.do(leave_group, GROUP, SubjectKind.DEVICE, LAPTOP),
    "certificate revoked": lambda scene: scene.revoke(scene.device_certificate_id),
}


@dataclass
class Scene:
    """Alice on her laptop, a gateway, and what happened so far. Each side follows the database as its process does."""

    installation: Installation
    gateway: Gateway
    login: LoginFacts
    device_certificate_id: str
    radius: Decider = field(default_factory=Decider)
    keeper: Decider = field(default_factory=Decider)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def user_certificate_id(self) -> str:
        assert self.login.certificate is not None
        return self.login.certificate.id

    def do(self, action: Callable[..., object], *arguments: object, **options: object) -> None:
        """As an administrator."""
        self.installation.do(action, *arguments, **options)

    def report(self, *, compliant: bool) -> None:
        """As a management system."""
        self.do(report_device, LAPTOP, COMPLIANT, value=compliant, source="test")

    def revoke(self, certificate_id: str) -> None:
        """For good."""
        self.do(revoke_certificate, certificate_id, reason="superseded")

    def decide(self) -> None:
        """The handshake ends; nothing is recorded."""
        with self.installation.store.read() as connection:
            self.radius.refresh(connection)
        decide_login(self.radius, self.login, now=self.installation.now)

    def record(self) -> None:
        """The recorder's transaction; an Accept leaves after it."""
        with self.installation.store.write(self.installation.now) as tx:
            self.radius.refresh(tx.connection, epoch=tx.epoch)
            self.decisions.append(record_login(tx, self.radius, self.login)[0])

    def join(self) -> None:
        """The gateway reports the tunnel, if there is one."""
        if self.decisions[-1].granted:
            with self.installation.store.write(self.installation.now) as tx:
                join_user_session(tx, self.gateway, self._report("alice"))

    def open_device(self) -> None:
        """The gateway reports a device tunnel that came up."""
        with self.installation.store.write(self.installation.now) as tx:
            self.keeper.refresh(tx.connection)
            report = self._report(f"CN={LAPTOP}, serialNumber={self.device_certificate_id}", self.device_certificate_id)
            self.decisions.append(open_device_session(tx, self.keeper, self.gateway, report))

    def enforce(self) -> None:
        """What the gateway's process does after every change."""
        with self.installation.store.write(self.installation.now) as tx:
            self.keeper.refresh(tx.connection)
            end_unentitled_sessions(tx, self.keeper, list_live_of_gateway(tx.connection, self.gateway.id))

    def list_states(self) -> list[str]:
        """Of every session there is."""
        with self.installation.store.read() as connection:
            return list(connection.execute(select(tables.sessions.c.state)).scalars())

    def count_cuts(self) -> int:
        """Effects that wait for the gateway."""
        with self.installation.store.read() as connection:
            effects = select(tables.effects).where(tables.effects.c.kind == EffectKind.CUT.value)
            return len(connection.execute(effects).all())

    def _report(self, identity: str, certificate_id: str | None = None) -> TunnelReport:
        return TunnelReport(NUMBER, SPIS, "192.0.2.7", identity, "10.31.0.1", certificate_id)


@pytest.fixture(scope="module")
def prepared(template: Template, tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, dict[str, str]]:
    """Everything is there and granted, and nothing happened yet."""
    installation = copy_installation(template[0], tmp_path_factory.mktemp("prepared") / "evertunnel.db", template[1])
    user_id, device_id, gateway_id = installation.add_user(), installation.add_device(), installation.add_gateway()
    installation.add_group(GROUP)
    for kind, name in ((SubjectKind.USER, ALICE), (SubjectKind.DEVICE, LAPTOP)):
        installation.do(join_group, GROUP, kind, name)
    installation.do(assign_device, LAPTOP, ALICE)
    installation.do(import_access_policies, make_document("compliantDevice"))
    installation.do(report_device, LAPTOP, COMPLIANT, value=True, source="test")
    installation.do(add_network_policy, POLICY, {"permission": "grant", "conditions": {"groups": [GROUP]}})
    ids = {
        "gateway": gateway_id,
        "user certificate": installation.issue(
            CertificateKind.SHORT_LIVED, ALICE, user_id=user_id, device_id=device_id
        ).id,
        "device certificate": installation.issue_device(device_id),
    }
    installation.store.close()
    return installation, ids


@pytest.fixture
def scene(prepared: tuple[Installation, dict[str, str]], template: Template, tmp_path: Path) -> Iterator[Scene]:
    original, ids = prepared
    path = Path(original.store.url.removeprefix("sqlite:///"))
    installation = copy_installation(path, tmp_path / "evertunnel.db", template[1])
    certificate = installation.find_certificate(ids["user certificate"])
    gateway = installation.decider.find_gateway(ids["gateway"])
    assert gateway is not None
    login = LoginFacts(installation.now, gateway, NUMBER, ALICE, "192.0.2.7", certificate, (), 1.0)
    yield Scene(installation, gateway, login, ids["device certificate"])
    installation.store.close()


def list_orders(ours: int, theirs: int) -> list[tuple[bool, ...]]:
    """Every order of so many steps of ours among so many of theirs; True is a step of theirs."""
    steps = range(ours + theirs)
    return [tuple(place in places for place in steps) for places in combinations(steps, theirs)]


def run(order: tuple[bool, ...], ours: list[Callable[[], None]], theirs: list[Callable[[], None]]) -> None:
    """Take the steps in that order."""
    sides = {False: iter(ours), True: iter(theirs)}
    for side in order:
        next(sides[side])()


def name_order(order: tuple[bool, ...]) -> str:
    """Ours as -, theirs as T."""
    return "".join("-T"[step] for step in order)


def verify(scene: Scene, *, granted: bool) -> None:
    """Nothing is left that nobody is ending, whichever side came first."""
    assert [decision.granted for decision in scene.decisions] == [granted]
    states = scene.list_states()
    assert states == ([SessionState.ENDING] if granted else [])
    assert scene.count_cuts() >= len(states), "the gateway is told"


@pytest.mark.parametrize("order", list_orders(ours=3, theirs=2), ids=name_order)
@pytest.mark.parametrize("what", FROM_USER)
def test_a_user_tunnel(scene: Scene, what: str, order: tuple[bool, ...]) -> None:
    run(order, [scene.decide, scene.record, scene.join], [lambda: FROM_USER[what](scene), scene.enforce])
    verify(scene, granted=order[: order.index(True)].count(False) >= 2)


@pytest.mark.parametrize("order", list_orders(ours=1, theirs=2), ids=name_order)
@pytest.mark.parametrize("what", FROM_DEVICE)
def test_a_device_tunnel(scene: Scene, what: str, order: tuple[bool, ...]) -> None:
    run(order, [scene.open_device], [lambda: FROM_DEVICE[what](scene), scene.enforce])
    verify(scene, granted=not order[0])


def test_without_anything_taken_away_both_stay(scene: Scene) -> None:
    for step in (scene.decide, scene.record, scene.enforce, scene.join, scene.open_device, scene.enforce):
        step()
    assert scene.list_states() == [SessionState.UP, SessionState.UP]
