"""All rules over one profile, over a file that was read, or over profiles that share a computer."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.findings import Finding, Level, Reading, advice, error, locate
from evertunnel.profiles.lint import authentication, cryptography, names, routing, tunnel
from evertunnel.profiles.model import Profile
from evertunnel.profiles.verify import verify_profile

RULES: tuple[Callable[[Profile], Iterable[Finding]], ...] = (
    *tunnel.RULES,
    *authentication.RULES,
    *cryptography.RULES,
    *routing.RULES,
    *names.RULES,
)


def lint_profile(profile: Profile) -> list[Finding]:
    """Errors first, each kind in the order of the rules."""
    found = [finding for rule in RULES for finding in rule(profile)]
    try:
        verify_profile(profile)
    except InvalidInputError as refusal:
        field, _, what = str(refusal).partition(": ")
        found.append(error("value", field, what, "no client format can carry it as it is", "give another value"))
    return sort_findings(found)


def lint_reading(reading: Reading) -> list[Finding]:
    """What the file did wrong and what the profile in it does, with paths and lines of the file."""
    of_model = [locate(finding, reading.places) for finding in lint_profile(reading.profile)]
    said = {(finding.rule, finding.path, finding.line) for finding in reading.findings}
    new = [finding for finding in of_model if (finding.rule, finding.path, finding.line) not in said]
    return sort_findings([*reading.findings, *new])


def lint_together(profiles: Sequence[Profile]) -> list[Finding]:
    """What only shows when several profiles reach one computer."""
    return sort_findings(
        finding for first, second in combinations(profiles, 2) for finding in _lint_pair(first, second)
    )


def _lint_pair(first: Profile, second: Profile) -> Iterator[Finding]:
    both = f"{first.name!r} and {second.name!r}"
    if first.name.casefold() == second.name.casefold():
        yield error(
            "same-name", "name", f"{both} have one name", "the second replaces the first on the client", "rename one"
        )
    if first.tunnel is second.tunnel and first.always_on and second.always_on:
        yield error(
            "two-always-on", "always_on", f"{both} are both always on, as {first.tunnel.value} tunnels",
            "Windows keeps one always-on profile of a class active, and which is not yours to choose",
            "set always_on on one only",
        )  # fmt: skip
    if first.register_dns and second.register_dns:
        yield error(
            "registered-twice", "register_dns", f"{both} both register their address in DNS",
            "the name of the computer then points now to one tunnel, now to the other", "set register_dns on one only",
        )  # fmt: skip
    if first.name_rules and second.name_rules and first.tunnel is not second.tunnel:
        yield advice(
            "rules-twice", "name_rules", f"{both} both have name resolution rules",
            "with both tunnels on a computer rules belong into the user tunnel", "remove those of the device tunnel",
        )  # fmt: skip
    if TunnelKind.DEVICE in (first.tunnel, second.tunnel) and first.tunnel is not second.tunnel:
        device, user = (first, second) if first.tunnel is TunnelKind.DEVICE else (second, first)
        if not device.ipv4_metric and not user.ipv4_metric:
            yield advice(
                "no-metrics", "ipv4_metric", f"neither of {both} has an interface metric",
                "Windows then chooses the DNS servers of either tunnel first", "give the user tunnel the lower metric",
                "Windows 11 24H2 in ProfileXML, earlier by script",
            )  # fmt: skip


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Errors before advice; else as they came."""
    return sorted(findings, key=lambda finding: finding.level is not Level.ERROR)
