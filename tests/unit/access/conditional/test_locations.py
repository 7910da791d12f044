"""Named locations: which addresses and countries are in one, and what is wrong with a document."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.access.conditional.locations import NamedLocation, compile_named_location
from evertunnel.access.conditional.sign_in import NO_COUNTRY, read_address
from evertunnel.access.documents import PolicyError
from tests.unit.access.conditional.samples import (
    evaluate,
    find_word,
    make_countries,
    make_policy,
    make_ranges,
    make_sign_in,
)


def make_range(lower: str, upper: str) -> dict[str, Any]:
    return make_ranges("x", "192.0.2.0/24") | {"ipRanges": [{"lowerAddress": lower, "upperAddress": upper}]}


def holds(location: NamedLocation, address: str) -> bool | None:
    return location.holds(read_address(address), None)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0", "2001:db8::1"]),
        ("192.0.2.7/24", ["192.0.2.0"], ["192.0.3.0"]),
        ("192.0.2.7/32", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.8"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "2001:db8::1"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::", "192.0.2.7"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.3.7"]),
    ],
)
def test_an_address_is_in_a_range(text: str, inside: list[str], outside: list[str]) -> None:
    location = compile_named_location(make_ranges("x", text))
    assert all(holds(location, address) is True for address in inside)
    assert all(holds(location, address) is False for address in outside)


def test_an_ipv4_address_in_the_clothes_of_ipv6_is_still_in_its_range() -> None:
    location = compile_named_location(make_ranges("x", "192.0.2.0/24"))
    assert holds(location, "::ffff:192.0.2.7") is True


def test_a_range_has_both_its_ends() -> None:
    location = compile_named_location(make_range("192.0.2.7", "192.0.2.9"))
    found = [holds(location, f"192.0.2.{last}") for last in range(6, 11)]
    assert found == [False, True, True, True, False]


BITS = st.integers(0, 255)
PAIRS = st.lists(st.tuples(BITS, BITS).map(sorted), min_size=1, max_size=6)


@given(PAIRS)
def test_ranges_that_overlap_or_touch_hold_what_any_of_them_holds(pairs: list[list[int]]) -> None:
    ranges = [{"lowerAddress": f"192.0.2.{low}", "upperAddress": f"192.0.2.{high}"} for low, high in pairs]
    location = compile_named_location(make_ranges("x", "192.0.2.0/24") | {"ipRanges": ranges})
    for last in range(256):
        assert holds(location, f"192.0.2.{last}") == any(low <= last <= high for low, high in pairs)


def test_countries_are_compared_whatever_their_case() -> None:
    location = compile_named_location(make_countries("x", "de", "AT"))
    assert [location.holds(None, country) for country in ("DE", "AT", "FR", NO_COUNTRY, None)] == [
        True, True, False, False, None,
    ]  # fmt: skip


def test_a_location_may_include_countries_that_cannot_be_resolved() -> None:
    location = compile_named_location(make_countries("x", unknown=True))
    assert [location.holds(None, country) for country in ("DE", NO_COUNTRY, None)] == [False, True, None]


def test_a_location_of_addresses_needs_no_country_and_the_other_way_round() -> None:
    assert compile_named_location(make_ranges("x", "192.0.2.0/24")).holds(None, "DE") is None
    assert compile_named_location(make_countries("x", "DE")).holds(ip_address("192.0.2.7"), None) is None


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (make_countries("x", "DE", countryLookupMethod="authenticatorAppGps"), "telephone"),
        (make_countries("x", "DE", future=1), "a field we do not know"),
        (make_ranges("x", "192.0.2.0/24") | {"future": 1}, "a field we do not know"),
        ({"@odata.type": "#microsoft.graph.compliantNetworkNamedLocation", "displayName": "x"}, "Entra's own"),
    ],
    ids=["gps", "a field of countries", "a field of ranges", "compliant network"],
)
def test_a_location_we_have_no_means_for_holds_nobody_knows_what(document: dict[str, Any], why: str) -> None:
    location = compile_named_location(document)
    assert why in location.unevaluable
    assert location.holds(ip_address("192.0.2.7"), "DE") is None


WRONG: list[tuple[str, Any]] = [
    ("$", 7),
    ("$.@odata.type", make_ranges("x", "192.0.2.0/24") | {"@odata.type": "#microsoft.graph.otherLocation"}),
    ("$.@odata.type", {"displayName": "x"}),
    ("$.displayName", make_ranges("x", "192.0.2.0/24") | {"displayName": None}),
    ("$.isTrusted", make_ranges("x", "192.0.2.0/24") | {"isTrusted": "yes"}),
    ("$.ipRanges", make_ranges("x")),
    ("$.ipRanges", make_ranges("x", "192.0.2.0/24") | {"ipRanges": "192.0.2.0/24"}),
    ("$.ipRanges", make_ranges("x", *["192.0.2.0/24"] * 2001)),
    ("$.ipRanges[0]", make_ranges("x") | {"ipRanges": ["192.0.2.0/24"]}),
    ("$.ipRanges[1].cidrAddress", make_ranges("x", "192.0.2.0/24", "192.0.2.0/33")),
    ("$.ipRanges[0].cidrAddress", make_ranges("x", "vpn.example")),
    ("$.ipRanges[0].future", make_ranges("x") | {"ipRanges": [{"cidrAddress": "192.0.2.0/24", "future": 1}]}),
    ("$.ipRanges[0].lowerAddress", make_range("", "192.0.2.7")),
    ("$.ipRanges[0].upperAddress", make_range("192.0.2.7", "x")),
    ("$.ipRanges[0]", make_range("192.0.2.8", "192.0.2.7")),
    ("$.ipRanges[0]", make_range("192.0.2.8", "2001:db8::")),
    ("$.countriesAndRegions", make_countries("x")),
    ("$.countriesAndRegions[1]", make_countries("x", "DE", "Germany")),
    ("$.includeUnknownCountriesAndRegions", make_countries("x", "DE", includeUnknownCountriesAndRegions="no")),
    ("$.countryLookupMethod", make_countries("x", "DE", countryLookupMethod="crystalBall")),
]


@pytest.mark.parametrize(("path", "document"), WRONG)
def test_a_wrong_location_is_refused_at_its_place(path: str, document: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        compile_named_location(document)
    assert caught.value.path == path
    assert len(str(caught.value)) < 300


def test_all_trusted_is_every_location_that_is_trusted() -> None:
    document = make_policy("block", locations={"includeLocations": ["AllTrusted"]})
    words = [find_word(make_sign_in(address=read_address(address)), document)
             for address in ("192.0.2.7", "2001:db8::7", "198.51.100.7")]  # fmt: skip
    assert words == ["failure", "failure", "notApplied"]


def test_the_location_that_excluded_is_named() -> None:
    document = make_policy("block", locations={"includeLocations": ["All"], "excludeLocations": ["branch", "office"]})
    assert evaluate(make_sign_in(), document).results[0].detail == (
        "locations: the address is in 'office', which is excluded"
    )


@pytest.mark.parametrize(
    ("place", "why"),
    [("branch", "the address is not known"), ("home", "the country is not known"), ("network", "we know nothing of")],
)
def test_why_a_location_cannot_be_told_is_said(place: str, why: str) -> None:
    document = make_policy("block", locations={"includeLocations": [place]})
    detail = evaluate(make_sign_in(address=None, country=None), document).results[0].detail
    assert detail.startswith(f"locations: whether it is in {place!r} cannot be told: {why}")


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.7", "192.0.2.7"), ("192.0.2.7[4500]", "192.0.2.7"), ("2001:db8::7[500]", "2001:db8::7"),
     ("fe80::1%eth0", "fe80::1"), ("::ffff:192.0.2.7", "192.0.2.7")],
)  # fmt: skip
def test_an_address_is_read_as_gateways_write_it(text: str, address: str) -> None:
    assert read_address(text) == ip_address(address)


@pytest.mark.parametrize("text", ["", "00-11-22-33-44-55", "192.0.2.7.8", "vpn", "192.0.2.256", "[4500]"])
def test_what_is_no_address_is_unknown(text: str) -> None:
    assert read_address(text) is None
