"""Compliance policies at work: verdicts follow posture, policies and time, in the transaction that changes them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from evertunnel.access.documents import PolicyError
from evertunnel.actions.change_compliance_policies import import_compliance_policies, remove_compliance_policy
from evertunnel.actions.check_compliance import check_compliance
from evertunnel.actions.end_facts import end_facts, find_seconds_left
from evertunnel.actions.report_device import report_device
from evertunnel.errors import NotFoundError
from evertunnel.storage import tables
from tests.installation import LAPTOP, Installation
from tests.unit.actions.posture import GOOD, POLICY, is_compliant, list_said, report_by_import


@pytest.fixture
def device_id(installation: Installation) -> str:
    """A Linux laptop, and a policy for Linux."""
    installation.do(import_compliance_policies, POLICY)
    return installation.add_device()


def let_time_pass(installation: Installation, **time: float) -> int:
    before = installation.now
    return end_facts(installation.store, since=before, now=installation.clock.forward(**time))


def list_verdicts(installation: Installation) -> list[dict[str, str]]:
    with installation.store.read() as connection:
        rows = connection.execute(
            select(tables.audit).where(tables.audit.c.name == "device:compliance").order_by(tables.audit.c.batch)
        )
        return [json.loads(row.details) for row in rows]


def test_a_device_that_tells_another_system_for_a_moment_gets_no_new_days_of_grace(
    installation: Installation, device_id: str
) -> None:
    installation.do(import_compliance_policies, POLICY | {"gracePeriodDays": 3})
    report_by_import(installation, **GOOD | {"firewall": "false"})
    assert is_compliant(installation, device_id) is True
    let_time_pass(installation, days=2)
    report_by_import(installation, operatingSystem="BeOS")
    assert is_compliant(installation, device_id) is None
    report_by_import(installation, operatingSystem="Linux")
    let_time_pass(installation, days=1)
    assert is_compliant(installation, device_id) is False


def test_posture_makes_a_device_compliant_and_takes_it_back(installation: Installation, device_id: str) -> None:
    assert is_compliant(installation, device_id) is None
    report_by_import(installation, **GOOD)
    assert is_compliant(installation, device_id) is True
    report_by_import(installation, firewall="false")
    assert is_compliant(installation, device_id) is False
    assert list_said(installation, device_id)["compliant", "mdm posture"] == "false"
    assert [(each["before"], each["now"]) for each in list_verdicts(installation)] == [
        ("unknown", "true"),
        ("true", "false"),
    ]
    assert list_verdicts(installation)[1]["because"] == "the firewall is off"


def test_a_policy_judges_what_was_reported_before_it(installation: Installation, device_id: str) -> None:
    report_by_import(installation, **GOOD)
    stricter = {"platform": "linux", "rules": {"firewall": True, "secureBoot": True}}
    assert installation.do(import_compliance_policies, [stricter]) == (["linux"], 1)
    assert is_compliant(installation, device_id) is False
    assert installation.do(import_compliance_policies, [POLICY]) == (["linux"], 1)
    assert is_compliant(installation, device_id) is True
    assert installation.do(import_compliance_policies, [POLICY]) == (["linux"], 0)
    assert installation.do(remove_compliance_policy, "LINUX") == 1
    assert is_compliant(installation, device_id) is None
    assert not any("posture" in source for _, source in list_said(installation, device_id))


def test_a_policy_that_cannot_be_read_makes_nobody_compliant(installation: Installation, device_id: str) -> None:
    report_by_import(installation, **GOOD)
    with installation.store.write(installation.now) as tx:
        tx.connection.execute(update(tables.compliance_policies).values(document={"platform": "linux"}))
    report_by_import(installation, antivirus="true")
    assert is_compliant(installation, device_id) is None


def test_grace_ends_by_itself(installation: Installation, device_id: str) -> None:
    installation.do(import_compliance_policies, POLICY | {"gracePeriodDays": 2})
    report_by_import(installation, **GOOD | {"firewall": "false"})
    assert is_compliant(installation, device_id) is True
    assert let_time_pass(installation, days=1) == 0
    report_by_import(installation, firewall="false")  # the same again begins nothing anew
    installation.clock.forward(hours=23)
    assert is_compliant(installation, device_id) is True
    before = installation.now
    installation.clock.forward(hours=1)
    assert is_compliant(installation, device_id) is None, "nobody looked yet, and it is over all the same"
    assert end_facts(installation.store, since=before, now=installation.now) == 1
    assert is_compliant(installation, device_id) is False
    report_by_import(installation, firewall="true")
    assert is_compliant(installation, device_id) is True


def test_posture_that_runs_out_takes_compliance_with_it(installation: Installation, device_id: str) -> None:
    report_by_import(installation, life="1h", **GOOD)
    assert is_compliant(installation, device_id) is True
    assert let_time_pass(installation, minutes=59) == 0
    assert find_seconds_left(installation.store, now=installation.now, at_most=1e9) == 60
    assert let_time_pass(installation, minutes=1) == 1
    assert is_compliant(installation, device_id) is None
    assert find_seconds_left(installation.store, now=installation.now, at_most=5) == 5


def test_what_runs_out_frees_a_device_that_a_second_source_vouches_for(
    installation: Installation, device_id: str
) -> None:
    report_by_import(installation, **GOOD)
    installation.do(report_device, LAPTOP, "firewall", value=False, source="administrator", life=timedelta(hours=1))
    assert is_compliant(installation, device_id) is False
    let_time_pass(installation, hours=1)
    assert is_compliant(installation, device_id) is True


def test_our_verdict_and_the_word_of_a_management_are_two_sources(installation: Installation, device_id: str) -> None:
    report_by_import(installation, compliant="true", **GOOD | {"firewall": "false"})
    assert is_compliant(installation, device_id) is False
    found = check_compliance(installation.store, LAPTOP, now=installation.now)
    assert "the stricter counts, though mdm said true" in found["because"]


def test_checking_says_rule_by_rule_why(installation: Installation, device_id: str) -> None:
    assert device_id
    report_by_import(installation, operatingSystem="Linux", firewall="false")
    found: dict[str, Any] = check_compliance(installation.store, LAPTOP, now=installation.now)
    assert found["compliant"] is False
    assert [(rule["rule"], rule["met"], rule["words"]) for rule in found["rules"]] == [
        ("diskEncryption", None, "disk encryption: not known, nobody reported it"),
        ("firewall", False, "the firewall is off"),
    ]
    assert {(fact["name"], fact["counts"]) for fact in found["facts"]} >= {("firewall", True), ("compliant", True)}


def test_a_policy_that_is_wrong_changes_nothing(installation: Installation, device_id: str) -> None:
    report_by_import(installation, **GOOD)
    for document, path in (
        ([POLICY, {"platform": "windows"}], "$[1].rules"),
        ([POLICY, POLICY], "$[1].platform"),
        ([], "$"),
        ("linux", "$"),
    ):
        with pytest.raises(PolicyError) as caught:
            installation.do(import_compliance_policies, document)
        assert caught.value.path == path
    assert is_compliant(installation, device_id) is True
    with pytest.raises(NotFoundError, match="no compliance policy for 'windows'"):
        installation.do(remove_compliance_policy, "windows")
