"""Named locations: ranges of addresses, or countries (reference: 1.4).

Entra takes public addresses and masks longer than /8 only; here an address may be private, so neither is demanded.
Whether an address or a country that is not known is in a location is unknown. A country that was looked for in vain is
in those locations that include unknown countries.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from evertunnel.access.conditional.sign_in import NO_COUNTRY
from evertunnel.access.conditional.verdicts import Verdict
from evertunnel.access.documents import (
    PolicyError,
    list_unknown,
    quote,
    read_flag,
    read_object,
    read_text,
    read_texts,
)

RANGES_AT_MOST = 2000
_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)
_COMMON = ("id", "displayName", "createdDateTime", "modifiedDateTime", "deletedDateTime")
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Ranges:
    """Addresses of one IP version as disjoint ranges in order: where each begins, and where it ends."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    def hold(self, address: int) -> bool:
        """Whether an address is in one of them."""
        index = bisect_right(self.first, address) - 1
        return index >= 0 and address <= self.last[index]


@dataclass(frozen=True, slots=True, eq=False)
class NamedLocation:
    """A compiled location. `ranges` is by IP version; `countries` are codes of two capitals.

    `unevaluable` is why nobody can tell what is in it, or empty.
    """

    id: str
    name: str
    is_trusted: bool = False
    ranges: Mapping[int, Ranges] | None = None
    countries: frozenset[str] = frozenset()
    include_unknown_countries: bool = False
    unevaluable: str = ""
    included: Verdict = field(init=False, repr=False)
    excluded: Verdict = field(init=False, repr=False)

    def __post_init__(self) -> None:
        why = self.unevaluable or ("the address" if self.ranges is not None else "the country") + " is not known"
        text = f"locations: whether it is in {quote(self.name)} cannot be told: {why}"
        object.__setattr__(self, "included", Verdict(None, "location", text))
        text = f"locations: the address is in {quote(self.name)}, which is excluded"
        object.__setattr__(self, "excluded", Verdict(False, "location", text))

    def holds(self, address: Address | None, country: str | None) -> bool | None:
        """Whether a client there is in it; None if that cannot be told."""
        if self.unevaluable:
            return None
        if self.ranges is None:
            if country is None:
                return None
            return self.include_unknown_countries if country == NO_COUNTRY else country in self.countries
        return None if address is None else self.ranges[address.version].hold(int(address))


def compile_named_location(document: Any) -> NamedLocation:
    """Read a named location as Graph writes it. Raises PolicyError with the JSON path."""
    location = read_object(document, "$")
    kind = read_text(location.get("@odata.type"), "$.@odata.type").rpartition(".")[2]
    name = read_text(location.get("displayName"), "$.displayName")
    location_id = read_text(location.get("id") or name, "$.id")
    match kind:
        case "ipNamedLocation":
            unknown = list_unknown(location, "$", (*_COMMON, "ipRanges", "isTrusted"))
            return NamedLocation(
                location_id,
                name,
                is_trusted=read_flag(location.get("isTrusted"), "$.isTrusted", default=False),
                ranges=_read_ranges(location.get("ipRanges")),
                unevaluable=_tell_unknown(unknown),
            )
        case "countryNamedLocation":
            known = ("countriesAndRegions", "includeUnknownCountriesAndRegions", "countryLookupMethod")
            return _read_countries(location, location_id, name, list_unknown(location, "$", (*_COMMON, *known)))
        case "compliantNetworkNamedLocation":
            trusted = read_flag(location.get("isTrusted"), "$.isTrusted", default=False)
            reason = "we know nothing of Entra's own compliant network"
            return NamedLocation(location_id, name, is_trusted=trusted, unevaluable=reason)
    known_kinds = "ipNamedLocation, countryNamedLocation or compliantNetworkNamedLocation"
    raise PolicyError("$.@odata.type", f"{quote(kind)} is no {known_kinds}")


def _read_countries(location: Mapping[str, Any], location_id: str, name: str, unknown: list[str]) -> NamedLocation:
    path = "$.countriesAndRegions"
    codes = read_texts(location.get("countriesAndRegions"), path)
    for index, code in enumerate(codes):
        if not _COUNTRY.fullmatch(code):
            raise PolicyError(f"{path}[{index}]", f"{quote(code)} is no country code of two letters")
    if not codes and not location.get("includeUnknownCountriesAndRegions"):
        raise PolicyError(path, "names no country")
    field_name = "includeUnknownCountriesAndRegions"
    method = location.get("countryLookupMethod")
    if method is not None:
        choices = ("clientIpAddress", "authenticatorAppGps")
        read_text(method, "$.countryLookupMethod", choices=choices)
    reason = "no authenticator tells us where a telephone is" if method == "authenticatorAppGps" else ""
    return NamedLocation(
        location_id,
        name,
        countries=frozenset(code.upper() for code in codes),
        include_unknown_countries=read_flag(location.get(field_name), f"$.{field_name}", default=False),
        unevaluable=reason or _tell_unknown(unknown),
    )


def _tell_unknown(paths: list[str]) -> str:
    return f"the location has a field we do not know, {quote(paths[0])}" if paths else ""


def _read_ranges(value: Any) -> dict[int, Ranges]:
    if not isinstance(value, list) or not 0 < len(value) <= RANGES_AT_MOST:
        raise PolicyError("$.ipRanges", f"must be a list of 1 to {RANGES_AT_MOST} ranges")
    found: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for index, item in enumerate(value):
        version, first, last = _read_range(read_object(item, f"$.ipRanges[{index}]"), f"$.ipRanges[{index}]")
        found[version].append((first, last))
    return {version: _join(pairs) for version, pairs in found.items()}


def _read_range(item: Mapping[str, Any], path: str) -> tuple[int, int, int]:
    unknown = list_unknown(item, path, ("cidrAddress", "lowerAddress", "upperAddress"))
    if unknown:
        raise PolicyError(
            unknown[0][:200], "is not known here; known are cidrAddress, or lowerAddress and upperAddress"
        )
    if item.get("cidrAddress") is not None:
        text = read_text(item["cidrAddress"], f"{path}.cidrAddress")
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise PolicyError(f"{path}.cidrAddress", f"{quote(text)} is no address with a mask") from None
        return _unmap(network.version, int(network.network_address), int(network.broadcast_address))
    ends = []
    for name in ("lowerAddress", "upperAddress"):
        text = read_text(item.get(name), f"{path}.{name}")
        try:
            ends.append(ip_address(text))
        except ValueError:
            raise PolicyError(f"{path}.{name}", f"{quote(text)} is no address") from None
    lower, upper = ends
    if lower.version != upper.version or int(lower) > int(upper):
        raise PolicyError(path, "must begin at a lower address of the same kind than it ends at")
    return _unmap(lower.version, int(lower), int(upper))


def _unmap(version: int, first: int, last: int) -> tuple[int, int, int]:
    """IPv4 addresses in IPv6's clothes are IPv4 addresses, as a sign-in's are."""
    if version == 6 and first >> 32 == last >> 32 == 0xFFFF:
        return 4, first & 0xFFFFFFFF, last & 0xFFFFFFFF
    return version, first, last


def _join(pairs: list[tuple[int, int]]) -> Ranges:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return Ranges(tuple(first for first, _ in joined), tuple(last for _, last in joined))
