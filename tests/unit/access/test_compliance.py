"""Compliance policies: every rule met, failed and unknown; grace; versions as numbers; documents with their places."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evertunnel.access.compliance import (
    Platform,
    Verdict,
    compile_compliance_policy,
    evaluate_posture,
    find_platform,
    read_version,
)
from evertunnel.access.documents import PolicyError
from evertunnel.access.posture import judge_device
from evertunnel.model import Fact

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
YES_NO = {
    "diskEncryption": "disk_encryption",
    "firewall": "firewall",
    "screenLock": "screen_lock",
    "secureBoot": "secure_boot",
    "antivirus": "antivirus",
}
ALL = {**dict.fromkeys(YES_NO, True), "operatingSystemVersionAtLeast": "10.0.22631"}
GOOD = {**dict.fromkeys(YES_NO.values(), "true"), "operatingSystem": "Windows", "operatingSystemVersion": "10.0.22631"}


def say(name: str, value: str, *, source: str = "mdm", life: timedelta | None = None) -> Fact:
    return Fact(name, value, source, NOW, None if life is None else NOW + life)


def judge(
    rules: dict[str, Any] | None = None,
    *,
    grace: int = 0,
    first: datetime | None = None,
    now: datetime = NOW,
    platform: str = "windows",
    **posture: str | None,
) -> Verdict:
    document = {"platform": platform, "rules": ALL if rules is None else rules, "gracePeriodDays": grace}
    said = {name: say(name, value) for name, value in {**GOOD, **posture}.items() if value is not None}
    return evaluate_posture(compile_compliance_policy(document), said, first, now)


def test_a_device_that_meets_every_rule_is_compliant() -> None:
    verdict = judge()
    assert verdict.compliant is True
    assert [rule.met for rule in verdict.rules] == [True] * 6
    assert verdict.source == "mdm"


@pytest.mark.parametrize(("rule", "name"), YES_NO.items())
def test_each_rule_fails_and_is_unknown_alone(rule: str, name: str) -> None:
    failed = judge(**{name: "false"})
    assert (failed.compliant, [each.rule for each in failed.rules if each.met is False]) == (False, [rule])
    assert failed.detail.endswith("is off")
    unknown = judge(**{name: None})
    assert (unknown.compliant, [each.rule for each in unknown.rules if each.met is None]) == (False, [rule])
    assert "not known, nobody reported it" in unknown.detail
    assert judge({key: True for key in YES_NO if key != rule}, **{name: "false"}).compliant is True


@pytest.mark.parametrize(
    ("version", "met"),
    [("10.0.22631", True), ("10.0.22631.0", True), ("10.0.22631.1", True), ("10.0.100000", True), ("11", True),
     ("10.0.22630", False), ("10.0.9999", False), ("10", False), ("9.9.99999", False), ("010.0.22631", True),
     ("10.0.22631-1", None), ("", None), ("ten", None), ("10..1", None), ("١٠.0", None), ("9" * 11, None)],
)  # fmt: skip
def test_versions_are_compared_as_numbers(version: str, met: bool | None) -> None:
    verdict = judge({"operatingSystemVersionAtLeast": "10.0.22631"}, operatingSystemVersion=version)
    assert (verdict.rules[0].met, verdict.compliant) == (met, met is True)


def test_a_version_nobody_reported_is_unknown() -> None:
    assert judge({"operatingSystemVersionAtLeast": "1"}, operatingSystemVersion=None).rules[0].met is None


@pytest.mark.parametrize(
    ("distribution", "version", "met"),
    [("ubuntu", "24.04", True), ("Ubuntu", "24.10", True), ("ubuntu", "22.04", False), ("debian", "12", True),
     ("debian", "11", False), ("fedora", "41", False), (None, "24.04", None)],
)  # fmt: skip
def test_each_distribution_has_a_version_of_its_own(distribution: str | None, version: str, met: bool | None) -> None:
    rules = {"operatingSystemVersionAtLeast": {"ubuntu": "24.04", "debian": "12"}}
    verdict = judge(
        rules,
        platform="linux",
        operatingSystem="Linux",
        operatingSystemVersion=version,
        linux_distribution=distribution,
    )
    assert verdict.rules[0].met is met


def test_what_fails_has_its_days_of_grace_to_the_microsecond() -> None:
    first = judge(grace=3, firewall="false")
    assert (first.compliant, first.failed_since, first.grace_ends) == (True, NOW, NOW + 3 * DAY)
    assert first.changes_at == NOW + 3 * DAY
    assert "in the grace period until 2026-05-07 12:00:00 UTC: the firewall is off" in first.detail
    last = NOW + 3 * DAY - timedelta(microseconds=1)
    assert judge(grace=3, firewall="false", first=NOW, now=last).compliant is True
    over = judge(grace=3, firewall="false", first=NOW, now=NOW + 3 * DAY)
    assert (over.compliant, over.failed_since) == (False, NOW)


def test_what_is_unknown_has_no_grace_and_does_not_begin_it_anew() -> None:
    assert judge(grace=3, firewall=None).compliant is False
    between = judge(grace=3, firewall=None, first=NOW - DAY)
    assert (between.compliant, between.failed_since) == (False, NOW - DAY)
    assert judge(grace=3, firewall="false", antivirus=None).compliant is False


def test_grace_begins_anew_only_after_all_was_well() -> None:
    assert judge(grace=3, antivirus="false", first=NOW - 2 * DAY).grace_ends == NOW + DAY
    assert judge(grace=3, first=NOW - 2 * DAY).failed_since is None


def test_a_moment_of_failure_ahead_of_the_clock_lengthens_nothing() -> None:
    assert judge(grace=3, firewall="false", first=NOW + 30 * DAY).grace_ends == NOW + 3 * DAY


WINDOWS = {Platform.WINDOWS: compile_compliance_policy({"platform": "windows", "rules": {"firewall": True}})}


def test_without_a_policy_for_the_platform_nothing_is_known() -> None:
    for system, words in (("Linux", "no compliance policy for 'Linux'"), ("BeOS", "no compliance policy for 'BeOS'")):
        verdict = judge_device(WINDOWS, [say("operatingSystem", system), say("firewall", "true")], None, NOW)
        assert verdict.compliant is None
        assert words in verdict.detail
    assert judge_device(WINDOWS, [say("firewall", "true")], None, NOW).compliant is None
    assert judge_device({}, [say("operatingSystem", "Windows"), say("firewall", "true")], None, NOW).compliant is None


def test_posture_that_is_too_old_is_unknown() -> None:
    facts = [say("operatingSystem", "Windows"), say("firewall", "true", life=DAY)]
    assert judge_device(WINDOWS, facts, None, NOW).changes_at == NOW + DAY
    assert judge_device(WINDOWS, facts, None, NOW + DAY).compliant is False


def test_of_two_sources_the_stricter_counts_and_the_one_that_says_the_same_is_the_more_trusted() -> None:
    system = [say("operatingSystem", "Windows", source=source) for source in ("device", "mdm")]
    both = judge_device(
        WINDOWS, [*system, say("firewall", "true", source="mdm"), say("firewall", "false", source="device")], None, NOW
    )
    assert (both.compliant, both.source) == (False, "device")
    agreed = judge_device(
        WINDOWS, [*system, say("firewall", "true", source="mdm"), say("firewall", "true", source="device")], None, NOW
    )
    assert (agreed.compliant, agreed.source) == (True, "mdm")


def test_a_verdict_is_worth_what_its_least_trusted_word_is() -> None:
    facts = [say("operatingSystem", "Windows", source="mdm"), say("firewall", "true", source="device")]
    assert judge_device(WINDOWS, facts, None, NOW).source == "device"


def test_a_device_cannot_choose_another_policy_than_its_management_says() -> None:
    policies = {
        **WINDOWS,
        Platform.LINUX: compile_compliance_policy({"platform": "linux", "rules": {"firewall": True}}),
    }
    facts = [
        say("operatingSystem", "Windows", source="mdm"),
        say("operatingSystem", "Linux", source="device"),
        say("firewall", "true"),
    ]
    verdict = judge_device(policies, facts, None, NOW)
    assert verdict.compliant is False
    assert verdict.detail == "sources disagree about operatingSystem: mdm says Windows, device says Linux"


def test_a_dispute_about_what_no_policy_asks_for_is_none() -> None:
    system = [say("operatingSystem", "Linux"), say("firewall", "true")]
    distributions = [say("linux_distribution", "ubuntu"), say("linux_distribution", "debian", source="device")]
    versions = {"platform": "linux", "rules": {"operatingSystemVersionAtLeast": {"ubuntu": "1"}}}
    firewall = {"platform": "linux", "rules": {"firewall": True}}
    found = [
        judge_device({Platform.LINUX: compile_compliance_policy(each)}, [*system, *distributions], None, NOW).compliant
        for each in (versions, firewall)
    ]
    assert found == [False, True]
    assert judge_device(WINDOWS, [*system, *distributions], None, NOW).compliant is None


@pytest.mark.parametrize(
    ("word", "platform"),
    [("Windows", "windows"), ("MacMDM", "macOS"), ("macOS", "macOS"), ("iPadOS", "iOS"), ("AndroidForWork", "android"),
     ("LINUX", "linux"), ("Windows Phone", None), ("", None)],
)  # fmt: skip
def test_platforms_by_all_their_names(word: str, platform: str | None) -> None:
    assert find_platform(word) == platform


def test_trailing_zeros_mean_nothing() -> None:
    assert read_version("10.0") == read_version("10") == (10,)
    assert read_version("0") == ()


RULES = {"firewall": True}
AT_LEAST = "operatingSystemVersionAtLeast"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "$"),
        (None, "$"),
        ({}, "$.platform"),
        ({"platform": "beos", "rules": RULES}, "$.platform"),
        ({"platform": "windows"}, "$.rules"),
        ({"platform": "windows", "rules": {}}, "$.rules"),
        ({"platform": "windows", "rules": []}, "$.rules"),
        ({"platform": "windows", "rules": RULES, "grace": 1}, "$.grace"),
        ({"platform": "windows", "rules": {"fire_wall": True}}, "$.rules.fire_wall"),
        ({"platform": "windows", "rules": {"firewall": False}}, "$.rules.firewall"),
        ({"platform": "windows", "rules": {"firewall": "true"}}, "$.rules.firewall"),
        ({"platform": "windows", "rules": {"firewall": 1}}, "$.rules.firewall"),
        ({"platform": "windows", "rules": RULES, "gracePeriodDays": -1}, "$.gracePeriodDays"),
        ({"platform": "windows", "rules": RULES, "gracePeriodDays": 91}, "$.gracePeriodDays"),
        ({"platform": "windows", "rules": RULES, "gracePeriodDays": 1.5}, "$.gracePeriodDays"),
        ({"platform": "windows", "rules": RULES, "gracePeriodDays": True}, "$.gracePeriodDays"),
        ({"platform": "windows", "rules": {AT_LEAST: "ten"}}, f"$.rules.{AT_LEAST}"),
        ({"platform": "windows", "rules": {AT_LEAST: 10}}, f"$.rules.{AT_LEAST}"),
        ({"platform": "linux", "rules": {AT_LEAST: "12"}}, f"$.rules.{AT_LEAST}"),
        ({"platform": "linux", "rules": {AT_LEAST: {}}}, f"$.rules.{AT_LEAST}"),
        (
            {"platform": "linux", "rules": {AT_LEAST: {"debian": "x"}}},
            f"$.rules.{AT_LEAST}.debian",
        ),
    ],
)  # fmt: skip
def test_a_document_that_is_wrong_says_where(document: Any, path: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compile_compliance_policy(document)
    assert caught.value.path == path
    assert len(str(caught.value)) < 400
