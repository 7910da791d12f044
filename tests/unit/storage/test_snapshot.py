"""Following the database epoch by epoch must end at the same state as reading all of it afresh."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from evertunnel.actions.allow import allow
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_device import change_device
from evertunnel.actions.change_membership import join_group, leave_group
from evertunnel.actions.change_network_policies import (
    add_network_policy,
    remove_network_policy,
    switch_network_policy,
)
from evertunnel.actions.change_user import change_user
from evertunnel.actions.deny import deny
from evertunnel.actions.end_denials import end_denials
from evertunnel.actions.import_access_policies import import_access_policies, remove_access_policy
from evertunnel.actions.import_policy_objects import add_named_location, import_policy_objects
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.remove_policy_object import remove_policy_object
from evertunnel.actions.report_device import report_device
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import DomainError
from evertunnel.model import CertificateKind, SubjectKind
from evertunnel.storage import snapshot, store, tables
from evertunnel.storage.own_tunnels import OWN_TUNNEL
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.snapshot import Changes, Snapshot, follow
from evertunnel.storage.store import read_epoch
from tests.installation import ALICE, Installation
from tests.unit.access.samples import make_document

USERS = [f"user{number}@corp.example" for number in range(3)]
DEVICES = [f"device{number}.corp.example" for number in range(3)]
GROUPS = ["one", "two", "three"]
user, device, group = st.sampled_from(USERS), st.sampled_from(DEVICES), st.sampled_from(GROUPS)
KINDS = st.sampled_from(["user", "device", "group"])


def read_afresh(installation: Installation) -> Snapshot:
    fresh = Snapshot()
    with installation.store.read() as connection:
        follow(connection, fresh)
    return fresh


def pick(kind: str, number: int) -> str:
    return {"user": USERS, "device": DEVICES, "group": GROUPS}[kind][number]


class Following(RuleBasedStateMachine):
    """Random changes by the real actions, with one reader that follows and one that begins anew each time."""

    make: Callable[[], Installation]

    @initialize()
    def begin(self) -> None:
        self.installation = type(self).make()
        for name in USERS:
            self.installation.add_user(name)
        for name in DEVICES:
            self.installation.add_device(name)
        for name in GROUPS:
            self.installation.add_group(name)
        self.followed, self.overwhelmed = Snapshot(), Snapshot()
        self.certificates: list[str] = []

    def do(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.installation.clock.forward(seconds=1)
        try:
            self.installation.do(action, *arguments, **options)
        except DomainError:
            return  # already denied, not denied, no such policy: refused changes must change nothing either

    @rule(group=group, kind=KINDS, number=st.integers(0, 2))
    def join(self, group: str, kind: str, number: int) -> None:
        self.do(join_group, group, SubjectKind(kind), pick(kind, number))

    @rule(group=group, kind=KINDS, number=st.integers(0, 2))
    def leave(self, group: str, kind: str, number: int) -> None:
        self.do(leave_group, group, SubjectKind(kind), pick(kind, number))

    @rule(kind=st.sampled_from(["user", "device"]), number=st.integers(0, 2), minutes=st.none() | st.integers(1, 3),
          revoke=st.booleans())  # fmt: skip
    def deny(self, kind: str, number: int, minutes: int | None, revoke: bool) -> None:
        until = None if minutes is None else self.installation.now + timedelta(minutes=minutes)
        self.do(deny, SubjectKind(kind), pick(kind, number), reason="test", until=until, revoke=revoke)

    @rule(kind=st.sampled_from(["user", "device"]), number=st.integers(0, 2))
    def allow(self, kind: str, number: int) -> None:
        self.do(allow, SubjectKind(kind), pick(kind, number))

    @rule(minutes=st.integers(1, 3))
    def wait(self, minutes: int) -> None:
        self.installation.clock.forward(minutes=minutes)
        end_denials(self.installation.store, now=self.installation.now)

    @rule(name=user, enabled=st.booleans())
    def change_user(self, name: str, enabled: bool) -> None:
        self.do(change_user, name, enabled=enabled)

    @rule(name=device, enabled=st.booleans())
    def change_device(self, name: str, enabled: bool) -> None:
        self.do(change_device, name, enabled=enabled)

    @rule(name=device, to=user, assigned=st.booleans())
    def assign(self, name: str, to: str, assigned: bool) -> None:
        self.do(assign_device, name, to, assigned=assigned)

    @rule(name=device, value=st.booleans(), source=st.sampled_from(["scanner", "administrator"]))
    def report(self, name: str, value: bool, source: str) -> None:
        self.do(report_device, name, "compliant", value=value, source=source, life=timedelta(hours=1))

    @rule(number=st.integers(0, 2))
    def issue(self, number: int) -> None:
        row = self.followed.users
        owner = next((found.id for found in row.values() if found.name == USERS[number]), None)
        if owner is not None:
            try:
                self.certificates.append(self.installation.issue_user(owner, name=USERS[number]))
            except DomainError:
                return  # denied

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        if self.certificates:
            self.do(revoke_certificate, data.draw(st.sampled_from(self.certificates)), reason="superseded")

    @rule(
        name=st.sampled_from(["a", "b"]),
        position=st.none() | st.integers(0, 3),
        permission=st.sampled_from(["grant", "deny"]),
    )
    def add_policy(self, name: str, position: int | None, permission: str) -> None:
        self.do(add_network_policy, name, {"permission": permission}, position=position)

    @rule(name=st.sampled_from(["a", "b"]), enabled=st.booleans())
    def switch_policy(self, name: str, enabled: bool) -> None:
        self.do(switch_network_policy, name, enabled=enabled)

    @rule(name=st.sampled_from(["a", "b"]))
    def remove_policy(self, name: str) -> None:
        self.do(remove_network_policy, name)

    @rule(name=st.sampled_from(["x", "y"]), code=st.sampled_from(["DE", "FR"]))
    def add_location(self, name: str, code: str) -> None:
        self.do(add_named_location, name, countries=[code], replace=True)

    @rule(name=st.sampled_from(["x", "y"]), kind=st.sampled_from(ObjectKind))
    def remove_object(self, name: str, kind: ObjectKind) -> None:
        self.do(remove_policy_object, kind, name)

    @rule(name=st.sampled_from(["x", "y"]), method=st.sampled_from(["fido2", "sms"]))
    def import_strength(self, name: str, method: str) -> None:
        document = {"displayName": name, "allowedCombinations": [method]}
        self.do(import_policy_objects, ObjectKind.STRENGTH, [PolicyFile("", document)], replace=True)

    @rule(name=st.sampled_from(["x", "y"]))
    def import_policy(self, name: str) -> None:
        self.do(import_access_policies, make_document("compliantDevice", name=name))

    @rule(name=st.sampled_from(["x", "y"]))
    def remove_access(self, name: str) -> None:
        self.do(remove_access_policy, name)

    @rule(number=st.integers(1, 3))
    def add_gateway(self, number: int) -> None:
        self.do(lambda *_arguments, **_options: self.installation.add_gateway(f"gw{number}", f"127.0.0.{number}"))

    @invariant()
    def the_follower_knows_what_a_newcomer_knows(self) -> None:
        if not hasattr(self, "installation"):
            return
        with self.installation.store.read() as connection:
            follow(connection, self.followed)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(snapshot, "_FOLLOW_AT_MOST", 0)  # whatever changed, it was too much to name it
                follow(connection, self.overwhelmed)
        assert self.followed == self.overwhelmed == read_afresh(self.installation)

    def teardown(self) -> None:
        if hasattr(self, "installation"):
            self.installation.store.close()


def test_following_equals_reading_afresh_after_any_changes(
    make_on_either: Callable[[Path], Installation],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def make() -> Installation:
        return make_on_either(tmp_path_factory.mktemp("followed"))

    Following.make = staticmethod(make)
    examples = (
        25 if request.node.callspec.params["make_on_either"] == "sqlite" else 8
    )  # which takes three times as long
    run_state_machine_as_test(Following, settings=settings(max_examples=examples, stateful_step_count=40))


def find_changes(installation: Installation, known: Snapshot) -> Changes:
    with installation.store.read() as connection:
        return follow(connection, known)


def test_nothing_new_is_nothing_changed(installation: Installation) -> None:
    known = read_afresh(installation)
    assert find_changes(installation, known) == Changes()


def test_the_first_look_says_that_everything_changed(installation: Installation) -> None:
    changes = find_changes(installation, Snapshot())
    assert changes.everybody
    assert {"user", "device", "group", "certificate", snapshot.NETWORK_POLICIES} <= changes.kinds


def test_a_denial_changes_one_subject_only(installation: Installation) -> None:
    user_id = installation.add_user()
    known = read_afresh(installation)
    installation.do(deny, SubjectKind.USER, "alice@corp.example", reason="test")
    changes = find_changes(installation, known)
    assert (changes.kinds, changes.ids, changes.everybody) == ({"user"}, {user_id}, False)


@pytest.mark.parametrize("what", ["group", "policy", "gateway"])
def test_groups_policies_and_gateways_concern_everybody(installation: Installation, what: str) -> None:
    known = read_afresh(installation)
    if what == "group":
        installation.add_group("staff")
    elif what == "policy":
        installation.do(add_network_policy, "policy", {"permission": "deny"})
    else:
        installation.add_gateway()
    assert find_changes(installation, known).everybody


def test_far_behind_everything_is_read_afresh(installation: Installation) -> None:
    installation.add_user()
    known = read_afresh(installation)
    with installation.store.write(installation.now) as tx:
        for number in range(501):
            tx.raise_epoch("user", str(number))
    known.users["u-gone"] = next(iter(known.users.values()))
    assert find_changes(installation, known).everybody
    assert known == read_afresh(installation)


def test_of_very_many_changes_only_the_kinds_are_read_afresh(installation: Installation) -> None:
    installation.add_user()
    known = read_afresh(installation)
    with installation.store.write(installation.now) as tx:
        for number in range(501):
            tx.raise_epoch("user", str(number))
    certificates, network = known.certificates_by_id, known.network
    assert find_changes(installation, known) == Changes(frozenset({"user"}), everybody=True)
    assert known.certificates_by_id is certificates and known.network is network
    with installation.store.write(installation.now) as tx:
        for number in range(501):
            tx.raise_epoch(OWN_TUNNEL, str(number))
    assert not find_changes(installation, known).everybody, "a tunnel that moved touches nobody at once"


def test_a_database_put_back_from_a_copy_is_read_afresh(installation: Installation) -> None:
    installation.add_user()
    known = read_afresh(installation)
    known.epoch += 5
    known.users.clear()
    assert find_changes(installation, known).everybody
    assert known == read_afresh(installation)


def test_changes_join() -> None:
    first, second = (
        Changes(frozenset({"user"}), frozenset({"u"})),
        Changes(frozenset({"group"}), frozenset({"g"}), True),
    )
    assert first.join(second) == Changes(frozenset({"user", "group"}), frozenset({"u", "g"}), True)
    assert first.join(Changes()) == first
    assert Changes().join(first) == first


def test_a_ring_of_groups_ends(installation: Installation) -> None:
    user_id = installation.add_user()
    ids = {name: installation.add_group(name) for name in GROUPS}
    installation.do(join_group, "one", SubjectKind.USER, "alice@corp.example")
    for inner, outer in (("one", "two"), ("two", "three"), ("three", "one")):
        installation.do(join_group, outer, SubjectKind.GROUP, inner)
    assert read_afresh(installation).users[user_id].groups == set(ids.values())


def test_a_denial_that_was_lifted_is_forgotten(installation: Installation) -> None:
    user_id = installation.add_user()
    installation.do(deny, SubjectKind.USER, "alice@corp.example", reason="test")
    assert len(read_afresh(installation).denials[user_id]) == 1
    installation.do(allow, SubjectKind.USER, "alice@corp.example")
    assert user_id not in read_afresh(installation).denials


def test_secrets_of_gateways_stay_sealed(installation: Installation) -> None:
    gateway_id = installation.add_gateway()
    known = read_afresh(installation)
    with installation.store.read() as connection:
        row = connection.execute(tables.gateways.select()).one()
    sealed = known.sealed[gateway_id]
    assert sealed.radius_secret == row.radius_secret_sealed
    opened = installation.keystore.unseal(sealed.radius_secret, context=f"gateways.radius_secret_sealed.{gateway_id}")
    assert len(opened) == 52 and opened not in sealed.radius_secret


def test_old_changes_are_dropped_and_who_follows_from_before_reads_everything(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (store, snapshot):
        monkeypatch.setattr(module, "KEPT_EPOCHS", 4)
    monkeypatch.setattr(store, "_PRUNE_EVERY_EPOCHS", 2)
    user_id = installation.add_user()
    long_ago, lately = read_afresh(installation), read_afresh(installation)
    for turn in range(9):
        if turn == 6:
            find_changes(installation, lately)
        installation.do(change_user, ALICE, enabled=turn % 2 == 0)
    with installation.store.read() as connection:
        epochs = connection.execute(select(tables.changes.c.epoch).order_by(tables.changes.c.epoch)).scalars().all()
        now = read_epoch(connection)
    assert epochs == list(range(epochs[0], now + 1)) and 4 <= len(epochs) <= 6
    assert find_changes(installation, lately) == Changes(frozenset({"user"}), frozenset({user_id}))
    assert find_changes(installation, long_ago).everybody
    assert lately == long_ago == read_afresh(installation)


def test_certificates_that_ended_are_dropped_once_there_are_many(
    sqlite_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = sqlite_installation
    monkeypatch.setattr(snapshot, "_CERTIFICATES_MORE", 2)
    owner = {"user_id": installation.add_user(), "device_id": installation.add_device()}
    followed = Snapshot()
    find_changes(installation, followed)
    for _ in range(12):
        installation.issue(CertificateKind.SHORT_LIVED, ALICE, **owner)
        find_changes(installation, followed)
        installation.clock.forward(days=2)
    assert len(followed.certificates_by_id) <= 6
    assert len(followed.certificates) == len(followed.certificates_by_id)
