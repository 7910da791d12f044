"""What counts of a device's posture when several sources speak of it, and the verdict over it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from evertunnel.access.compliance import (
    CompliancePolicy,
    Platform,
    Verdict,
    evaluate_posture,
    find_platform,
    read_version,
)
from evertunnel.access.fact_names import LINUX_DISTRIBUTION, OPERATING_SYSTEM, OPERATING_SYSTEM_VERSION, POSTURE
from evertunnel.access.fact_sources import rank_source
from evertunnel.model import Fact


def judge_device(
    policies: Mapping[Platform, CompliancePolicy],
    facts: Iterable[Fact],
    first_failed_at: datetime | None,
    now: datetime,
) -> Verdict:
    """The verdict over everything sources say of a device."""
    posture = [fact for fact in facts if fact.name in POSTURE and (fact.expires_at is None or now < fact.expires_at)]
    by_name: dict[str, list[Fact]] = {}
    for fact in posture:
        by_name.setdefault(fact.name, []).append(fact)
    systems = by_name.get(OPERATING_SYSTEM)
    if not systems:
        words = "its platform is not known: nobody reported operatingSystem"
        return Verdict(None, words, failed_since=first_failed_at)
    found = [policies.get(platform) for fact in systems if (platform := find_platform(fact.value)) is not None]
    policy = next((each for each in found if each is not None), None)
    if policy is None:
        words = f"there is no compliance policy for {systems[0].value[:80]!r}"
        # A device that says for a moment that it is another would begin its days of grace anew.
        return Verdict(None, words, failed_since=first_failed_at if policies else None)
    # Whoever could choose the platform could choose the policy.
    disputed = [OPERATING_SYSTEM]
    if policy.platform is Platform.LINUX and policy.least_versions:
        disputed.append(LINUX_DISTRIBUTION)
    for name in disputed:
        if words := find_dispute(by_name.get(name, ())):
            source = min((fact.source for fact in by_name[name]), key=rank_source)
            ends = _find_end(by_name[name])
            return Verdict(False, words, source=source, failed_since=first_failed_at, changes_at=ends)
    return evaluate_posture(policy, merge_posture(by_name), first_failed_at, now)


def merge_posture(by_name: Mapping[str, Iterable[Fact]]) -> dict[str, Fact]:
    """Of each name the strictest word; of sources that say the same the most trusted one, which lives longest."""
    return {name: min(facts, key=_order) for name, facts in by_name.items()}


def find_dispute(facts: Iterable[Fact]) -> str:
    """How sources disagree about what has no stricter side, in words; empty when they do not."""
    by_value: dict[object, Fact] = {}
    for fact in facts:
        by_value.setdefault(find_platform(fact.value) or fact.value.casefold(), fact)
    if len(by_value) < 2:
        return ""
    said = ", ".join(f"{fact.source} says {fact.value[:80]}" for fact in by_value.values())
    return f"sources disagree about {next(iter(by_value.values())).name}: {said}"


def _order(fact: Fact) -> tuple[tuple[int, ...], int, float]:
    if fact.name == OPERATING_SYSTEM_VERSION:
        version = read_version(fact.value)
        strictness: tuple[int, ...] = (-1,) if version is None else version
    else:
        strictness = (int(fact.value == "true"),)
    ends = float("inf") if fact.expires_at is None else fact.expires_at.timestamp()
    return strictness, -rank_source(fact.source), -ends


def _find_end(facts: Iterable[Fact]) -> datetime | None:
    return min((fact.expires_at for fact in facts if fact.expires_at is not None), default=None)
