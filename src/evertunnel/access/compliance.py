"""Compliance policies: what a device of a platform must be like. Ours to write, one document a platform.

A rule is met, failed or unknown. What nobody reported is unknown, and unknown is not compliant, at once. A rule that
fails leaves the policy's days of grace; a platform without a policy is neither compliant nor not: nothing is known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from evertunnel.access import fact_names
from evertunnel.access.documents import PolicyError, cut_text, read_object, read_text, refuse_unknown
from evertunnel.access.fact_sources import rank_source
from evertunnel.model import Fact

_GRACE_DAYS_AT_MOST = 90
_DISTRIBUTIONS_AT_MOST = 50
_VERSION = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10}){0,7}", re.ASCII)
_YES_NO_RULES = {
    "diskEncryption": (fact_names.DISK_ENCRYPTION, "disk encryption"),
    "firewall": (fact_names.FIREWALL, "the firewall"),
    "screenLock": (fact_names.SCREEN_LOCK, "the screen lock"),
    "secureBoot": (fact_names.SECURE_BOOT, "secure boot"),
    "antivirus": (fact_names.ANTIVIRUS, "the antivirus"),
}
_VERSION_RULE = "operatingSystemVersionAtLeast"
_RULES = (*_YES_NO_RULES, _VERSION_RULE)


class Platform(StrEnum):
    """What compliance policies are written for."""

    WINDOWS = "windows"
    MACOS = "macOS"
    LINUX = "linux"
    IOS = "iOS"
    ANDROID = "android"


# How Entra, Intune and the systems themselves call the platforms.
_PLATFORM_WORDS = {
    "windows": Platform.WINDOWS,
    "macos": Platform.MACOS,
    "mac os": Platform.MACOS,
    "macmdm": Platform.MACOS,
    "linux": Platform.LINUX,
    "ios": Platform.IOS,
    "ipados": Platform.IOS,
    "iphone": Platform.IOS,
    "ipad": Platform.IOS,
    "android": Platform.ANDROID,
    "androidforwork": Platform.ANDROID,
    "androidenterprise": Platform.ANDROID,
}


@dataclass(frozen=True, slots=True)
class CompliancePolicy:
    """A compiled policy. `least_versions` is by distribution in lower case; other platforms have it under ""."""

    platform: Platform
    demands: tuple[str, ...]
    least_versions: Mapping[str, str]
    grace: timedelta


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule's result: met, failed, or None for unknown; in words, and whose word it was."""

    rule: str
    met: bool | None
    words: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a device is compliant; None is not known. `detail` says why in a line.

    `source` is the least trusted one that the verdict rests on. `failed_since` is when a rule failed first,
    `changes_at` when the verdict may change though nobody reports anything.
    """

    compliant: bool | None
    detail: str
    rules: tuple[RuleResult, ...] = ()
    source: str = ""
    failed_since: datetime | None = None
    grace_ends: datetime | None = None
    changes_at: datetime | None = None


def compile_compliance_policy(document: Any) -> CompliancePolicy:
    """Read a policy. Raises PolicyError."""
    policy = read_object(document, "$")
    refuse_unknown(policy, "$", ("platform", "rules", "gracePeriodDays"))
    platform = Platform(read_text(policy.get("platform"), "$.platform", choices=[each.value for each in Platform]))
    rules = read_object(policy.get("rules"), "$.rules")
    refuse_unknown(rules, "$.rules", _RULES)
    if not rules:
        raise PolicyError("$.rules", f"demands nothing: name at least one of {', '.join(_RULES)}")
    for rule in _YES_NO_RULES:
        if rule in rules and rules[rule] is not True:
            raise PolicyError(f"$.rules.{rule}", "must be true; leave the rule out where it is not demanded")
    return CompliancePolicy(
        platform,
        tuple(rule for rule in _YES_NO_RULES if rule in rules),
        _read_versions(platform, rules[_VERSION_RULE]) if _VERSION_RULE in rules else {},
        _read_grace(policy.get("gracePeriodDays", 0)),
    )


def find_platform(word: str) -> Platform | None:
    """The platform an operating system is, as Entra, Intune or the system itself calls it."""
    return _PLATFORM_WORDS.get(word.strip().casefold())


def read_version(text: str) -> tuple[int, ...] | None:
    """Dotted numbers, to be compared; 10.0 and 10.0.0 are the same. None: it is something else."""
    if _VERSION.fullmatch(text) is None:
        return None
    numbers = [int(part) for part in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def evaluate_posture(
    policy: CompliancePolicy, posture: Mapping[str, Fact], first_failed_at: datetime | None, now: datetime
) -> Verdict:
    """Judge what counts now of a device, by fact name (posture.merge_posture). `first_failed_at`: the verdict before.

    The grace period begins when the first rule fails, and begins anew only after all were met.
    """
    rules = [_check_yes_no(rule, posture) for rule in policy.demands]
    if policy.least_versions:
        rules.append(_check_version(policy, posture))
    used = [posture[name] for name in _list_used(policy) if name in posture]
    system = posture.get(fact_names.OPERATING_SYSTEM)
    sources = [rule.source for rule in rules if rule.source] + ([system.source] if system else [])
    source = min(sources, key=rank_source, default="")
    failed = [rule for rule in rules if rule.met is False]
    unmet = [rule for rule in rules if not rule.met]
    began = now if failed and first_failed_at is None else first_failed_at
    since = min(began, now) if unmet and began is not None else None
    ends = min((fact.expires_at for fact in used if fact.expires_at is not None), default=None)
    found = Verdict(False, "; ".join(rule.words for rule in unmet), tuple(rules), source, since, changes_at=ends)
    if not unmet:
        return replace(found, compliant=True, detail="every rule is met")
    if since is None or len(failed) < len(unmet):  # what is unknown has none
        return found
    grace_ends = since + policy.grace
    if now >= grace_ends:
        return found
    detail = f"in the grace period until {grace_ends:%F %T} UTC: {found.detail}"
    earliest = grace_ends if ends is None else min(ends, grace_ends)
    return replace(found, compliant=True, detail=detail, changes_at=earliest, grace_ends=grace_ends)


def _list_used(policy: CompliancePolicy) -> list[str]:
    names = [fact_names.OPERATING_SYSTEM, *(_YES_NO_RULES[rule][0] for rule in policy.demands)]
    if policy.least_versions:
        names += [fact_names.OPERATING_SYSTEM_VERSION, fact_names.LINUX_DISTRIBUTION]
    return names


def _check_yes_no(rule: str, posture: Mapping[str, Fact]) -> RuleResult:
    name, what = _YES_NO_RULES[rule]
    fact = posture.get(name)
    if fact is None:
        return RuleResult(rule, None, f"{what}: not known, nobody reported it")
    on = fact.value == "true"
    return RuleResult(rule, on, f"{what} is {'on' if on else 'off'}", fact.source)


def _check_version(policy: CompliancePolicy, posture: Mapping[str, Fact]) -> RuleResult:
    fact = posture.get(fact_names.OPERATING_SYSTEM_VERSION)
    if fact is None:
        return RuleResult(_VERSION_RULE, None, "the operating system's version: not known, nobody reported it")
    least, source, name = policy.least_versions.get(""), fact.source, policy.platform.value
    if policy.platform is Platform.LINUX:
        said = posture.get(fact_names.LINUX_DISTRIBUTION)
        if said is None:
            return RuleResult(_VERSION_RULE, None, "the Linux distribution: not known, nobody reported it", source)
        source = min(fact.source, said.source, key=rank_source)
        name, least = said.value, policy.least_versions.get(said.value.casefold())
        if least is None:
            known = ", ".join(policy.least_versions)
            return RuleResult(_VERSION_RULE, False, f"the distribution {name} is none of {known}", source)
    found, wanted = read_version(fact.value), read_version(least or "")
    if found is None or wanted is None:
        return RuleResult(_VERSION_RULE, None, f"the version {fact.value!r} is not dotted numbers", source)
    if found < wanted:
        return RuleResult(_VERSION_RULE, False, f"{name} {fact.value} is older than {least}", source)
    return RuleResult(_VERSION_RULE, True, f"{name} {fact.value} is at least {least}", source)


def _read_versions(platform: Platform, value: Any) -> dict[str, str]:
    path = f"$.rules.{_VERSION_RULE}"
    if platform is not Platform.LINUX:
        return {"": _read_version(value, path)}
    if not isinstance(value, Mapping) or not 0 < len(value) <= _DISTRIBUTIONS_AT_MOST:
        raise PolicyError(
            path,
            "versions of different distributions cannot be compared: give each distribution its own by its ID in "
            'os-release, such as {"ubuntu": "24.04", "debian": "12"}',
        )
    return {name.casefold(): _read_version(each, f"{path}.{cut_text(name)}") for name, each in value.items()}


def _read_version(value: Any, path: str) -> str:
    text = read_text(value, path)
    if read_version(text) is None:
        raise PolicyError(path, f"{text[:80]!r} is not a version of dotted numbers such as 10.0.22631")
    return text


def _read_grace(value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _GRACE_DAYS_AT_MOST:
        raise PolicyError("$.gracePeriodDays", f"must be a whole number from 0 to {_GRACE_DAYS_AT_MOST}")
    return timedelta(days=value)
