"""Stored facts decide: a risk that was reported blocks, and a property that was imported includes a device."""

from datetime import timedelta
from typing import Any

import pytest

from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_facts import import_facts
from evertunnel.actions.report_user import report_user
from evertunnel.model import Reason
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document
from tests.unit.actions.posture import report_by_import


@pytest.fixture
def certificate_id(installation: Installation) -> str:
    """Alice on her laptop, whom everything is granted."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    return installation.issue_user(installation.add_user(), device_id=installation.add_device())


def block(installation: Installation, **conditions: Any) -> None:
    document = make_document("block")
    document["conditions"] |= conditions
    installation.do(import_access_policies, document)


def test_a_risk_by_hand_blocks_until_it_is_taken_back(installation: Installation, certificate_id: str) -> None:
    block(installation, userRiskLevels=["high"])
    installation.do(report_user, ALICE, {"user_risk": "low"}, source="administrator")
    assert installation.decide(certificate_id).granted
    installation.do(report_user, ALICE, {"user_risk": "high"}, source="script", life=timedelta(hours=1))
    assert installation.decide(certificate_id).reason is Reason.BLOCKED_BY_ACCESS_POLICY
    installation.clock.forward(hours=1)
    assert installation.decide(certificate_id).granted


def test_a_property_that_was_imported_is_what_a_device_filter_asks_for(
    installation: Installation, certificate_id: str
) -> None:
    rule = {"deviceFilter": {"mode": "include", "rule": 'device.model -eq "Toaster"'}}
    block(installation, devices=rule)
    report_by_import(installation, model="Latitude")
    assert installation.decide(certificate_id).granted
    report_by_import(installation, model="Toaster")
    assert installation.decide(certificate_id).reason is Reason.BLOCKED_BY_ACCESS_POLICY


def test_a_device_whose_id_in_the_directory_nobody_told_may_be_the_one_that_is_blocked(
    installation: Installation, certificate_id: str
) -> None:
    stolen, other = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "ab")
    block(installation, devices={"deviceFilter": {"mode": "include", "rule": f'device.deviceId -eq "{stolen}"'}})
    assert installation.decide(certificate_id).reason is Reason.BLOCKED_BY_ACCESS_POLICY
    report_by_import(installation, deviceId=other)
    assert installation.decide(certificate_id).granted
    report_by_import(installation, deviceId=stolen)
    assert installation.decide(certificate_id).reason is Reason.BLOCKED_BY_ACCESS_POLICY


@pytest.mark.parametrize(
    "platforms",
    [{"includePlatforms": ["windows"]}, {"includePlatforms": ["all"], "excludePlatforms": ["linux"]}],
    ids=["included", "excluded"],
)
def test_a_device_that_tells_another_platform_than_its_management_leaves_no_policy(
    installation: Installation, certificate_id: str, platforms: dict[str, Any]
) -> None:
    block(installation, platforms=platforms)
    report_by_import(installation, operatingSystem="Windows")
    other = f"device,fact,value\n{LAPTOP},operatingSystem,Linux\n".encode()
    installation.do(import_facts, other, source="script")
    assert installation.decide(certificate_id).reason is Reason.BLOCKED_BY_ACCESS_POLICY


def test_the_platform_is_what_the_operating_system_says(installation: Installation, certificate_id: str) -> None:
    block(installation, platforms={"includePlatforms": ["linux"]})
    report_by_import(installation, operatingSystem="Windows")
    assert installation.decide(certificate_id).granted
    report_by_import(installation, operatingSystem="Linux")
    assert installation.decide(certificate_id).reason is Reason.BLOCKED_BY_ACCESS_POLICY
