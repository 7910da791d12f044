"""Rules about DNS: suffixes, name resolution rules, trusted networks."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

from evertunnel.profiles.findings import Finding, advice, error
from evertunnel.profiles.model import Profile


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
    suffixes = {suffix.lower() for suffix in (*profile.dns_suffixes, *profile.trusted_networks)}
    for index, rule in enumerate(profile.name_rules):
        field = f"name_rules[{index}]"
        if not rule.domain:
            yield error("rule-domain", field, "the rule names no domain", "Windows refuses it", "give a DomainName")
        if "*" in rule.domain:
            yield error(
                "rule-star", field, f"{rule.domain!r} has a star", "a suffix is written with a leading dot",
                f"write {'.' + rule.domain.replace('*', '').strip('.')}",
            )  # fmt: skip
        name = rule.domain.lower()
        if rule.servers and name in suffixes and f".{name}" not in counted:
            yield advice(
                "rule-exact", field, f"the rule is for the one name {rule.domain!r}, which is a suffix of the profile",
                "without a leading dot names below it are resolved outside of the tunnel", f"write .{rule.domain}",
            )  # fmt: skip
        if rule.proxy and not _is_endpoint(rule.proxy):
            yield error(
                "rule-proxy", field, f"the proxy {rule.proxy[:80]!r} is no address", "Windows takes one IP address, "
                "with or without a port", "write it as 10.0.0.1:8080",
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


def _is_endpoint(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    try:
        # Without a port; then all of it is the address.
        ip_address(text)
    except ValueError:
        try:
            ip_address(host.strip("[]"))
        except ValueError:
            return False
        return bool(colon) and port.isascii() and port.isdecimal() and 0 < int(port) < 65_536
    return True


def lint_own_name(profile: Profile) -> Iterator[Finding]:
    """The gateway's own name must be resolved outside the tunnel."""
    exact = {rule.domain.lower() for rule in profile.name_rules if not rule.servers}
    ruled = {rule.domain.lower() for rule in profile.name_rules if rule.servers}
    for index, server in enumerate(profile.servers):
        name = server.address.lower()
        covering = None if name in exact else next((domain for domain in _list_covering(name) if domain in ruled), None)
        if covering:
            yield error(
                "own-name", f"servers[{index}]", f"{name} falls under the rule for {covering}",
                "Windows then asks the DNS inside the tunnel for the address of the tunnel, and cannot reconnect",
                f"add a rule for {name} without servers",
            )  # fmt: skip


def _list_covering(name: str) -> Iterator[str]:
    """Every domain whose rule covers a name, the nearest first."""
    yield name
    labels = name.split(".")
    yield from ("." + ".".join(labels[at:]) for at in range(len(labels)))
    yield "."


RULES = (lint_suffixes, lint_rules, lint_own_name)
