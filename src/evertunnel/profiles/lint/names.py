"""Rules about DNS: suffixes, name resolution rules, trusted networks."""

from collections import Counter
from collections.abc import Iterator

from evertunnel.profiles.findings import Finding, advice, error
from evertunnel.profiles.model import NameRule, Profile


def lint_suffixes(profile: Profile) -> Iterator[Finding]:
    """Suffixes are names without a dot before them."""
    for field in ("dns_suffixes", "trusted_networks"):
        for index, suffix in enumerate(getattr(profile, field)):
            if suffix.startswith(".") or suffix.endswith(".") or "*" in suffix:
                yield error(
                    "suffix", f"{field}[{index}]", f"{suffix!r} begins or ends with a dot, or has a star",
                    "it equals no network's suffix then", f"write {suffix.strip('.*')}",
                )  # fmt: skip


def lint_rules(profile: Profile) -> Iterator[Finding]:
    """Name resolution rules."""
    counted = Counter(rule.domain.lower() for rule in profile.name_rules)
    for index, rule in enumerate(profile.name_rules):
        field = f"name_rules[{index}]"
        if not rule.domain:
            yield error("rule-domain", field, "the rule names no domain", "Windows refuses it", "give a DomainName")
        if "*" in rule.domain:
            yield error(
                "rule-star", field, f"{rule.domain!r} has a star", "a suffix is written with a leading dot",
                f"write {'.' + rule.domain.replace('*', '').strip('.')}",
            )  # fmt: skip
        if counted[rule.domain.lower()] > 1:
            yield error(
                "rule-twice",
                field,
                f"there are several rules for {rule.domain!r}",
                "Windows keeps one of them",
                "merge them",
            )
    if profile.name_rules and not profile.trusted_networks and profile.always_on:
        yield advice(
            "rules-trusted", "name_rules", "there are name rules but no trusted network",
            "Windows then reports the rules' suffixes as trusted networks", "name the trusted networks",
        )  # fmt: skip


def lint_own_name(profile: Profile) -> Iterator[Finding]:
    """The gateway's own name must be resolved outside the tunnel."""
    exact = {rule.domain.lower() for rule in profile.name_rules if not rule.servers}
    for index, server in enumerate(profile.servers):
        name = server.address.lower()
        covering = [rule for rule in profile.name_rules if rule.servers and _covers(rule, name)]
        if covering and name not in exact:
            yield error(
                "own-name", f"servers[{index}]", f"{name} falls under the rule for {covering[0].domain}",
                "Windows then asks the DNS inside the tunnel for the address of the tunnel, and cannot reconnect",
                f"add a rule for {name} without servers",
            )  # fmt: skip


def _covers(rule: NameRule, name: str) -> bool:
    domain = rule.domain.lower()
    return domain == "." or domain == name or (domain.startswith(".") and ("." + name).endswith(domain))


RULES = (lint_suffixes, lint_rules, lint_own_name)
