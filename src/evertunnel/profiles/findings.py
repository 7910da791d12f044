"""What a reader or the linter has to say about a profile."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from evertunnel.profiles.model import Profile


class Level(StrEnum):
    """ERROR: the client refuses it, does something else than it says, or is not safe. ADVICE: it could be better."""

    ERROR = "error"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: what is wrong, on which client (empty: all), why, and the mend.

    `field` is the model's (`routes[2].metric`), `path` and `line` are the file's own when it came from one.
    """

    level: Level
    rule: str
    field: str
    what: str
    why: str
    mend: str
    client: str = ""
    path: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stood."""

    path: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that was read: the profile, what the file itself did wrong, and where each field stood."""

    format: str
    profile: Profile
    findings: tuple[Finding, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)


def locate(finding: Finding, places: Mapping[str, Place]) -> Finding:
    """The finding with the place of its field, or of the nearest thing around it."""
    if finding.path:
        return finding
    name = finding.field
    while name and name not in places:
        name = name.rpartition(".")[0] if "." in name[name.rfind("]") + 1 :] else name.rpartition("[")[0]
    place = places.get(name)
    return replace(finding, path=place.path, line=place.line) if place else finding


def error(rule: str, field: str, what: str, why: str, mend: str, client: str = "") -> Finding:
    """A finding that must be mended."""
    return Finding(Level.ERROR, rule, field, what, why, mend, client)


def advice(rule: str, field: str, what: str, why: str, mend: str, client: str = "") -> Finding:
    """A finding that could be mended."""
    return Finding(Level.ADVICE, rule, field, what, why, mend, client)
