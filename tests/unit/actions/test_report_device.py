"""Reporting a fact: it counts at once, for as long as it lives, and beside what other sources say."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.report_device import report_device
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.storage import tables
from tests.installation import LAPTOP, Installation
from tests.unit.access.samples import make_document


@pytest.fixture
def demanding(installation: Installation) -> tuple[Installation, str]:
    """Access demands a compliant device; a certificate of Alice on her laptop."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(import_access_policies, make_document("compliantDevice"))
    user_id, device_id = installation.add_user(), installation.add_device()
    return installation, installation.issue_user(user_id, device_id=device_id)


def report(installation: Installation, *, value: bool, source: str = "scanner", **life: float) -> None:
    installation.do(
        report_device, LAPTOP, "compliant", value=value, source=source, life=timedelta(**life) if life else None
    )


def test_compliance_counts_from_the_report_on_and_its_loss_too(demanding: tuple[Installation, str]) -> None:
    installation, certificate_id = demanding
    granted = []
    for value in (True, False, True):
        report(installation, value=value)
        granted.append(installation.decide(certificate_id).granted)
    assert granted == [True, False, True]


def test_a_report_counts_for_its_life_and_a_new_one_renews_it(demanding: tuple[Installation, str]) -> None:
    installation, certificate_id = demanding
    report(installation, value=True, hours=1)
    installation.clock.forward(minutes=59)
    assert installation.decide(certificate_id).granted
    installation.clock.forward(minutes=1)
    assert not installation.decide(certificate_id).granted
    report(installation, value=True, hours=1)
    assert installation.decide(certificate_id).granted


def test_the_stricter_of_two_sources_counts_until_it_changes_its_mind(demanding: tuple[Installation, str]) -> None:
    installation, certificate_id = demanding
    report(installation, value=True, source="scanner")
    report(installation, value=False, source="administrator")
    assert not installation.decide(certificate_id).granted
    report(installation, value=True, source="administrator")
    assert installation.decide(certificate_id).granted


@pytest.mark.parametrize("life", [timedelta(0), timedelta(seconds=-1), timedelta(days=367), timedelta.max])
def test_a_life_that_is_none_or_too_long_is_refused(installation: Installation, life: timedelta) -> None:
    installation.add_device()
    with pytest.raises(InvalidInputError, match="at most 366 days"):
        installation.do(report_device, LAPTOP, "compliant", value=True, source="x", life=life)


def test_a_report_about_nothing_is_refused(installation: Installation) -> None:
    with pytest.raises(NotFoundError):
        report(installation, value=True)


def test_a_report_is_on_record_with_its_source(installation: Installation) -> None:
    installation.add_device()
    report(installation, value=False, source="scanner")
    with installation.store.read() as connection:
        row = connection.execute(select(tables.audit).where(tables.audit.c.name == "device:report")).one()
    assert (row.subject, row.details) == (LAPTOP, '{"compliant":"false","source":"scanner"}')
