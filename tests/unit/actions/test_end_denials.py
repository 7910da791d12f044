"""Denials with an end: they end by themselves, and what they held is given back."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.end_denials import end_denials
from evertunnel.model import CertificateStatus, Reason, SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.store import read_epoch
from tests.installation import ALICE, LAPTOP, Installation


@pytest.fixture
def denied(installation: Installation) -> tuple[Installation, str]:
    """Alice is denied for an hour; everything else would be granted."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    user_id, device_id = installation.add_user(), installation.add_device()
    certificate_id = installation.issue_user(user_id, device_id=device_id)
    deny_for(installation, SubjectKind.USER, ALICE, hours=1)
    return installation, certificate_id


def deny_for(installation: Installation, kind: SubjectKind, name: str, **time: float) -> None:
    until = installation.now + timedelta(**time) if time else None
    installation.do(deny, kind, name, reason="test", until=until, revoke=False)


def end(installation: Installation) -> int:
    return end_denials(installation.store, now=installation.now)


def test_before_its_end_a_denial_stays_and_nothing_is_written(denied: tuple[Installation, str]) -> None:
    installation, certificate_id = denied
    installation.clock.forward(minutes=59)
    with installation.store.read() as connection:
        before = read_epoch(connection)
    assert end(installation) == 0
    with installation.store.read() as connection:
        assert read_epoch(connection) == before
    assert installation.decide(certificate_id).reason is Reason.USER_DENIED


def test_at_its_end_the_user_gets_in_again_with_the_same_certificate(denied: tuple[Installation, str]) -> None:
    installation, certificate_id = denied
    installation.clock.forward(hours=1)
    assert end(installation) == 1
    assert end(installation) == 0
    assert installation.find_certificate(certificate_id).status is CertificateStatus.VALID
    assert installation.decide(certificate_id).granted


def test_a_denial_of_the_device_still_holds_the_certificate(denied: tuple[Installation, str]) -> None:
    installation, certificate_id = denied
    deny_for(installation, SubjectKind.DEVICE, LAPTOP)
    installation.clock.forward(hours=1)
    assert end(installation) == 1
    assert installation.find_certificate(certificate_id).status is CertificateStatus.ON_HOLD
    assert installation.decide(certificate_id).reason is Reason.DEVICE_DENIED


def test_two_that_end_together_release_what_both_held(denied: tuple[Installation, str]) -> None:
    installation, certificate_id = denied
    deny_for(installation, SubjectKind.DEVICE, LAPTOP, hours=1)
    installation.clock.forward(hours=2)
    assert end(installation) == 2
    assert installation.decide(certificate_id).granted


def test_a_longer_denial_of_the_same_user_stays(denied: tuple[Installation, str]) -> None:
    installation, certificate_id = denied
    installation.do(deny, SubjectKind.USER, ALICE, reason="worse", revoke=True)
    installation.clock.forward(hours=1)
    assert end(installation) == 1
    decision = installation.decide(certificate_id)
    assert (decision.reason, decision.detail) == (Reason.USER_DENIED, "the user is denied: worse")
    assert installation.find_certificate(certificate_id).status is CertificateStatus.REVOKED


def test_the_audit_says_that_it_ended_and_when(denied: tuple[Installation, str]) -> None:
    installation, _ = denied
    installation.clock.forward(hours=3)
    end(installation)
    with installation.store.read() as connection:
        row = connection.execute(select(tables.audit).where(tables.audit.c.name == "user:allow")).one()
    assert (row.actor, row.subject) == ("the end of the denial", ALICE)
    assert "denied until 2026-05-04 13:00:00 UTC" in row.details


def test_a_user_may_be_denied_again_afterwards(denied: tuple[Installation, str]) -> None:
    installation, certificate_id = denied
    installation.clock.forward(hours=1)
    deny_for(installation, SubjectKind.USER, ALICE, hours=1)
    assert end(installation) == 1
    assert installation.decide(certificate_id).reason is Reason.USER_DENIED
    assert installation.find_certificate(certificate_id).status is CertificateStatus.ON_HOLD
