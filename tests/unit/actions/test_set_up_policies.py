"""The usual set-up: what it grants, and everything it does not."""

from dataclasses import replace

import pytest

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_membership import join_group
from evertunnel.actions.report_device import report_device
from evertunnel.actions.set_up_policies import set_up_policies
from evertunnel.errors import AlreadyExistsError
from evertunnel.model import CertificateKind, Reason, SubjectKind, TunnelKind
from evertunnel.storage import people
from tests.installation import ALICE, LAPTOP, Installation


@pytest.fixture
def usual(installation: Installation) -> Installation:
    """The usual policies; Alice and her compliant laptop in their groups."""
    installation.do(set_up_policies)
    installation.add_user()
    installation.add_device()
    installation.do(assign_device, LAPTOP, ALICE)
    installation.do(join_group, "VPN Users", SubjectKind.USER, ALICE)
    installation.do(join_group, "VPN Devices", SubjectKind.DEVICE, LAPTOP)
    installation.do(report_device, LAPTOP, "compliant", value=True, source="administrator")
    return installation


def issue(installation: Installation, kind: CertificateKind) -> str:
    with installation.store.read() as connection:
        user_id = people.get_subject(connection, SubjectKind.USER, ALICE).id
        device_id = people.get_subject(connection, SubjectKind.DEVICE, LAPTOP).id
    if kind is CertificateKind.DEVICE:
        return installation.issue(kind, LAPTOP, device_id=device_id).id
    return installation.issue(kind, ALICE, user_id=user_id, device_id=device_id).id


def test_a_short_lived_certificate_opens_the_user_tunnel_and_a_device_certificate_the_device_tunnel(
    usual: Installation,
) -> None:
    assert usual.decide(issue(usual, CertificateKind.SHORT_LIVED)).granted
    assert usual.decide(issue(usual, CertificateKind.DEVICE), TunnelKind.DEVICE).granted


def test_a_long_lived_user_certificate_opens_nothing(usual: Installation) -> None:
    decision = usual.decide(issue(usual, CertificateKind.USER))
    assert decision.reason is Reason.CERTIFICATE_USAGE_DEMANDED


@pytest.mark.parametrize(("kind", "member"), [(SubjectKind.USER, ALICE), (SubjectKind.DEVICE, LAPTOP)])
def test_the_deny_group_stands_above_the_grants(usual: Installation, kind: SubjectKind, member: str) -> None:
    certificate_id = issue(usual, CertificateKind.SHORT_LIVED)
    usual.do(join_group, "VPN Denied", kind, member)
    assert usual.decide(certificate_id).reason is Reason.NETWORK_POLICY_DENIES


def test_who_is_in_no_group_gets_nothing(usual: Installation) -> None:
    other, device_id = usual.add_user("bob@corp.example"), usual.add_device("laptop2.corp.example")
    usual.do(assign_device, "laptop2.corp.example", "bob@corp.example")
    issued = usual.issue(CertificateKind.SHORT_LIVED, "bob@corp.example", user_id=other, device_id=device_id)
    certificate_id = issued.id
    assert usual.decide(certificate_id).reason is Reason.NO_NETWORK_POLICY


def test_a_device_taken_away_refuses_the_user_tunnel_and_given_back_grants_it(usual: Installation) -> None:
    certificate_id = issue(usual, CertificateKind.SHORT_LIVED)
    usual.do(assign_device, LAPTOP, ALICE, assigned=False)
    decision = usual.decide(certificate_id)
    assert decision.reason is Reason.DEVICE_NOT_ASSIGNED
    assert decision.detail == f"{LAPTOP} is not assigned to {ALICE} any more"
    usual.do(assign_device, LAPTOP, ALICE)
    assert usual.decide(certificate_id).granted


def test_a_device_that_is_no_longer_compliant_refuses_the_user_tunnel_and_the_certificate(usual: Installation) -> None:
    certificate_id = issue(usual, CertificateKind.SHORT_LIVED)
    usual.do(report_device, LAPTOP, "compliant", value=False, source="administrator")
    assert usual.decide(certificate_id).reason is Reason.DEVICE_NOT_COMPLIANT
    certificate = usual.find_certificate(certificate_id)
    facts = usual.decider.gather_facts(at=usual.now, tunnel=None, certificate=certificate)
    assert usual.decider.decide_certificate(replace(facts, certificate=None)).reason is Reason.DEVICE_NOT_COMPLIANT


def test_setting_up_twice_is_told_and_changes_nothing(usual: Installation) -> None:
    usual.refresh()
    before = usual.decider.epoch
    with pytest.raises(AlreadyExistsError):
        usual.do(set_up_policies)
    usual.refresh()
    assert usual.decider.epoch == before


def test_groups_that_exist_are_used(installation: Installation) -> None:
    group_id = installation.add_group("vpn users")
    user_id = installation.add_user()
    installation.do(set_up_policies)
    installation.do(join_group, "VPN Users", SubjectKind.USER, ALICE)
    installation.refresh()
    user = installation.decider.find_user(user_id)
    assert user is not None and user.groups == {group_id}
