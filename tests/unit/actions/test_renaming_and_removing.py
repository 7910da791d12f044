"""Renaming shakes nothing off; whoever is added under the name of somebody removed is somebody else."""

from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_membership import join_group
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.end_denials import end_denials
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.remove_group import remove_group
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.actions.report_device import report_device
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import CertificateKind, Reason, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, sessions, tables
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document

USER, DEVICE = SubjectKind.USER, SubjectKind.DEVICE
NAMES = {USER: (ALICE, "alice.smith@corp.example"), DEVICE: (LAPTOP, "laptop7.corp.example")}
TUNNELS = {USER: TunnelKind.USER, DEVICE: TunnelKind.DEVICE}
BOTH = pytest.mark.parametrize("kind", [USER, DEVICE])


@pytest.fixture
def people(installation: Installation) -> Installation:
    """Alice with her laptop; everybody is granted."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.add_user()
    installation.add_device()
    installation.do(assign_device, LAPTOP, ALICE)
    return installation


def find_id(installation: Installation, kind: SubjectKind, name: str) -> str:
    table = tables.users if kind is USER else tables.devices
    with installation.store.read() as connection:
        return connection.execute(select(table.c.id).where(table.c.name == name)).scalar_one()


def issue(installation: Installation, kind: SubjectKind) -> str:
    subject_id = find_id(installation, kind, NAMES[kind][0])
    return installation.issue_user(subject_id) if kind is USER else installation.issue_device(subject_id)


def open_session(installation: Installation, kind: SubjectKind, certificate_id: str) -> str:
    gateway_id = installation.add_gateway()
    owner: dict[str, Any] = {f"{kind.value}_id": find_id(installation, kind, NAMES[kind][0])}
    session = Session("s1", TUNNELS[kind], SessionState.UP, gateway_id, 1, installation.now,
                      certificate_id=certificate_id, **owner)  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [session])
    return gateway_id


@BOTH
def test_renaming_keeps_the_id_and_shakes_no_denial_off(people: Installation, kind: SubjectKind) -> None:
    old, new = NAMES[kind]
    certificate_id, subject_id = issue(people, kind), find_id(people, kind, old)
    people.do(deny, kind, old, reason="test")
    people.do(rename_subject, kind, old, new.upper() if kind is DEVICE else new)
    assert find_id(people, kind, new) == subject_id
    denied = Reason.USER_DENIED if kind is USER else Reason.DEVICE_DENIED
    assert people.decide(certificate_id, TUNNELS[kind]).reason is denied
    with pytest.raises(NotFoundError):
        people.do(rename_subject, kind, old, new)


@BOTH
def test_a_renamed_one_goes_on(people: Installation, kind: SubjectKind) -> None:
    certificate_id = issue(people, kind)
    people.do(rename_subject, kind, *NAMES[kind])
    assert people.decide(certificate_id, TUNNELS[kind]).granted


def test_only_the_case_of_a_name_may_change(people: Installation) -> None:
    people.do(rename_subject, USER, ALICE, "Alice@Corp.Example")
    assert find_id(people, USER, "Alice@Corp.Example")


def test_a_name_that_is_taken_or_none_is_refused(people: Installation) -> None:
    bob = people.add_user("bob@corp.example")
    for taken in ("BOB@corp.example", bob):
        with pytest.raises((AlreadyExistsError, InvalidInputError)):
            people.do(rename_subject, USER, ALICE, taken)
    with pytest.raises(InvalidInputError):
        people.do(rename_subject, DEVICE, LAPTOP, "laptop 1")
    people.add_group("staff")
    with pytest.raises(InvalidInputError, match="printable"):
        people.do(rename_subject, SubjectKind.GROUP, "staff", "\x1b[2J")


@BOTH
def test_who_is_removed_gets_nowhere_and_neither_does_the_next_of_that_name_with_the_old_certificate(
    people: Installation, kind: SubjectKind
) -> None:
    name = NAMES[kind][0]
    certificate_id, subject_id = issue(people, kind), find_id(people, kind, name)
    people.do(remove_subject, kind, name.upper())
    assert not people.decide(certificate_id, TUNNELS[kind]).granted
    again = people.add_user() if kind is USER else people.add_device()
    assert again != subject_id
    decision = people.decide(certificate_id, TUNNELS[kind])
    assert decision.reason is Reason.CERTIFICATE_REVOKED
    certificate = people.find_certificate(certificate_id)
    assert (certificate.user_id, certificate.device_id) == (None, None)


def test_a_device_that_is_removed_takes_the_short_lived_certificates_on_it_along(people: Installation) -> None:
    owners = {"user_id": find_id(people, USER, ALICE), "device_id": find_id(people, DEVICE, LAPTOP)}
    certificate_id = people.issue(CertificateKind.SHORT_LIVED, ALICE, **owners).id
    assert people.decide(certificate_id).granted
    people.do(report_device, LAPTOP, "compliant", value=True, source="administrator")
    people.do(remove_subject, DEVICE, LAPTOP)
    assert people.decide(certificate_id).reason is Reason.CERTIFICATE_REVOKED
    people.add_device()
    people.refresh()
    device = people.decider.find_device(find_id(people, DEVICE, LAPTOP))
    assert device is not None and device.users == frozenset()
    facts = people.decider.gather_facts(at=people.now, tunnel=None, device=device)
    assert facts.device_facts == {}


@BOTH
def test_who_has_live_sessions_is_removed_only_after_a_denial(people: Installation, kind: SubjectKind) -> None:
    name = NAMES[kind][0]
    gateway_id = open_session(people, kind, issue(people, kind))
    with pytest.raises(InvalidInputError, match=rf"live sessions \(1\): end them first with `evertunnel deny {kind}"):
        people.do(remove_subject, kind, name)
    people.do(deny, kind, name, reason="left", until=people.clock.moment.replace(year=2027))
    people.do(remove_subject, kind, name)
    with people.store.read() as connection:
        (effect,) = effect_queue.list_pending(connection, gateway_id)
        assert connection.execute(select(tables.sessions.c.state)).scalar_one() == "ending"
    assert effect.cause == "denied: left"
    people.clock.forward(days=800)
    assert end_denials(people.store, now=people.now) == 0  # nothing is left to end, and nothing stumbles over it


def test_who_is_removed_is_in_no_group_any_more(people: Installation) -> None:
    people.add_group("staff")
    people.do(join_group, "staff", USER, ALICE)
    people.do(remove_subject, USER, ALICE)
    with people.store.read() as connection:
        assert connection.execute(select(tables.group_members)).all() == []
        assert connection.execute(select(tables.device_users)).all() == []


def test_whom_a_policy_names_is_not_removed(people: Installation) -> None:
    people.do(add_network_policy, "office", {"permission": "deny", "conditions": {"users": [ALICE]}}, position=1)
    people.add_user("bob@corp.example")
    users = {"includeUsers": [find_id(people, USER, "bob@corp.example")]}
    people.do(import_access_policies, make_document("block", name="contractors", users=users))
    with pytest.raises(InvalidInputError, match="the network policy 'office' names alice"):
        people.do(remove_subject, USER, ALICE)
    with pytest.raises(InvalidInputError, match="the conditional access policy 'contractors' names bob"):
        people.do(remove_subject, USER, "bob@corp.example")


def test_a_group_that_is_renamed_is_meant_by_policies_as_before(people: Installation) -> None:
    certificate_id = issue(people, USER)
    people.add_group("staff")
    people.do(join_group, "staff", USER, ALICE)
    people.do(add_network_policy, "left", {"permission": "deny", "conditions": {"groups": ["staff"]}}, position=1)
    people.do(rename_subject, SubjectKind.GROUP, "staff", "Former staff")
    assert people.decide(certificate_id).reason is Reason.NETWORK_POLICY_DENIES
    people.add_group("staff")  # somebody else's name now
    assert people.decide(certificate_id).reason is Reason.NETWORK_POLICY_DENIES


def test_a_group_is_removed_when_no_policy_names_it_and_takes_nobody_along(people: Installation) -> None:
    """Who was in another only through it is in that no more, as of the very next decision."""
    certificate_id = issue(people, USER)
    for name in ("all", "team"):
        people.add_group(name)
    people.do(join_group, "all", SubjectKind.GROUP, "team")
    people.do(join_group, "team", USER, ALICE)
    people.do(add_network_policy, "members", {"permission": "deny", "conditions": {"groups": ["all"]}}, position=1)
    assert people.decide(certificate_id).reason is Reason.NETWORK_POLICY_DENIES
    with pytest.raises(InvalidInputError, match="the network policy 'members' names all"):
        people.do(remove_group, "all")
    people.do(remove_group, "TEAM")
    assert people.decide(certificate_id).granted
    with people.store.read() as connection:
        assert connection.execute(select(tables.group_members)).all() == []
    people.add_group("team")
    assert people.decide(certificate_id).granted


def test_both_are_on_record(people: Installation) -> None:
    people.do(rename_subject, USER, *NAMES[USER])
    people.do(remove_subject, USER, NAMES[USER][1])
    people.do(remove_subject, DEVICE, LAPTOP)
    with people.store.read() as connection:
        rows = connection.execute(select(tables.audit.c.name, tables.audit.c.subject).order_by(tables.audit.c.batch))
        assert [tuple(row) for row in rows][-3:] == [
            ("user:change", NAMES[USER][1]), ("user:remove", NAMES[USER][1]), ("device:remove", LAPTOP),
        ]  # fmt: skip
