"""The condition about locations. Includes are a union; exclude beats include.

A location nobody can tell anything of (its address or country is not known, or we have no means for it) excludes
nobody, and including by it is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.sign_in import SignIn
from evertunnel.access.conditional.verdicts import MATCHES, Condition, Notes, Verdict
from evertunnel.access.documents import PolicyError, is_set, list_unknown, quote, read_object, read_texts

PATH = "$.conditions.locations"
FIELDS = ("includeLocations", "excludeLocations")
WORDS = ("All", "AllTrusted")
# Stands in exports for the addresses the old per-user second factor trusted, which no export holds.
MFA_TRUSTED_ADDRESSES = "00000000-0000-0000-0000-000000000000"
_MFA_TRUSTED = NamedLocation(
    MFA_TRUSTED_ADDRESSES, "MFA trusted IPs", unevaluable="no export holds the addresses that per-user MFA trusts"
)
_NOWHERE = Verdict(False, "location", "locations: the address is in none of the included locations")
_EVERYWHERE = Verdict(False, "location", "locations: every location is excluded")
_FIELD = Verdict(None, "location", "locations: a field that is not known could include the address")


@dataclass(frozen=True, slots=True)
class Locations:
    """Where a policy applies."""

    everywhere: bool
    include: tuple[NamedLocation, ...]
    include_unknown: bool
    exclude_everywhere: bool
    exclude: tuple[NamedLocation, ...]

    def check(self, sign_in: SignIn) -> Verdict:
        """Exclude beats include."""
        address, country = sign_in.address, sign_in.country
        if self.exclude_everywhere:
            return _EVERYWHERE
        for location in self.exclude:
            if location.holds(address, country):
                return location.excluded
        if self.everywhere:
            return MATCHES
        unknown = _FIELD if self.include_unknown else None
        for location in self.include:
            held = location.holds(address, country)
            if held:
                return MATCHES
            if held is None:
                unknown = location.included
        return unknown or _NOWHERE


def read_locations(value: Any, known: Mapping[str, NamedLocation], notes: Notes) -> Condition | None:
    """Read `conditions.locations`; None is everywhere. `known` has every named location, by id and by name."""
    if not is_set(value):
        return None
    document = read_object(value, PATH)
    include = read_texts(document.get("includeLocations"), f"{PATH}.includeLocations")
    exclude = read_texts(document.get("excludeLocations"), f"{PATH}.excludeLocations")
    unknown = list_unknown(document, PATH, FIELDS)
    if not include and not unknown:
        if exclude:
            raise PolicyError(f"{PATH}.includeLocations", 'names no location: use ["All"]')
        return None
    return Locations(
        everywhere="All" in include,
        include=_resolve(include, "includeLocations", known, notes),
        include_unknown=notes.add_unknown(unknown),
        exclude_everywhere="All" in exclude,
        exclude=_resolve(exclude, "excludeLocations", known, notes),
    )


def _resolve(
    texts: Sequence[str], side: str, known: Mapping[str, NamedLocation], notes: Notes
) -> tuple[NamedLocation, ...]:
    found: dict[str, NamedLocation] = {}
    effect = "excludes nobody" if side.startswith("exclude") else "counts as matching"
    for index, text in enumerate(texts):
        path = f"{PATH}.{side}[{index}]"
        for location in _find(text, path, known):
            found[location.id] = location
            if location.unevaluable:
                notes.add(path, f"{location.unevaluable}: it {effect}")
    return tuple(found.values())


def _find(text: str, path: str, known: Mapping[str, NamedLocation]) -> list[NamedLocation]:
    if text == "AllTrusted":
        return list({location.id: location for location in known.values() if location.is_trusted}.values())
    if text in known:
        return [known[text]]
    if text == MFA_TRUSTED_ADDRESSES:
        return [_MFA_TRUSTED]
    if text in WORDS:
        return []
    raise PolicyError(path, f"{quote(text)} is neither the id nor the name of a named location we know")
