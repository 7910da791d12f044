"""Countries of addresses: read from real MaxMind-format files, and no file of any kind makes a login fail."""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import maxminddb
import pytest
from structlog.testing import capture_logs

from evertunnel import countries
from evertunnel.access.computed_risks import Place
from evertunnel.countries import CountryDatabase, read_country, read_place
from tests.mmdb import build_mmdb, city, country

NETWORKS = {
    "192.0.2.0/24": country("DE"),
    "198.51.100.0/25": country("KP"),
    "198.51.100.128/25": {"continent": {"code": "EU"}},
    "2001:db8::/32": country("FR"),
}
KNOWN = {"192.0.2.7": "DE", "198.51.100.1": "KP", "2001:db8::7": "FR"}


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(countries, "_LOOK_EVERY_SECONDS", -1.0)


def write(path: Path, records: dict[str, Any], **options: Any) -> CountryDatabase:
    path.write_bytes(build_mmdb(records, **options))
    return CountryDatabase(path)


def test_the_library_itself_reads_what_the_tests_write(tmp_path: Path) -> None:
    (tmp_path / "c.mmdb").write_bytes(build_mmdb(NETWORKS))
    with maxminddb.open_database(tmp_path / "c.mmdb") as reader:
        assert reader.get("192.0.2.255") == NETWORKS["192.0.2.0/24"]
        assert reader.get("192.0.3.0") is None
        assert reader.get_with_prefix_len("2001:db8::1") == (NETWORKS["2001:db8::/32"], 32)
        assert reader.metadata().ip_version == 6
        assert len(list(reader)) == len(NETWORKS)


@pytest.mark.parametrize(
    ("address", "code"), [*KNOWN.items(), ("198.51.100.200", ""), ("10.0.0.1", ""), ("2001:dead::1", "")]
)
def test_an_address_has_its_country_or_was_looked_for_in_vain(tmp_path: Path, address: str, code: str) -> None:
    database = write(tmp_path / "c.mmdb", NETWORKS)
    assert database.find_country(ip_address(address)) == code
    assert database.find_country(ip_address(address)) == code


def test_a_file_of_something_else_tells_no_country_instead_of_none_for_all(tmp_path: Path) -> None:
    """Else a policy that blocks a country would block nobody."""
    networks = {"192.0.2.0/24": {"autonomous_system_organization": "Example"}}
    with capture_logs() as said:
        database = write(tmp_path / "asn.mmdb", networks, kind="GeoLite2-ASN")
        assert database.find_country(ip_address("192.0.2.7")) is None
        assert database.find_country(ip_address("198.51.100.7")) is None
    assert [line["why"] for line in said] == ["it tells no country: take a file of countries or of cities"]
    (tmp_path / "new.mmdb").write_bytes(build_mmdb(NETWORKS))
    (tmp_path / "new.mmdb").replace(tmp_path / "asn.mmdb")
    assert database.find_country(ip_address("192.0.2.7")) == "DE"


def test_a_file_of_ipv4_knows_nothing_of_ipv6(tmp_path: Path) -> None:
    database = write(tmp_path / "c.mmdb", {"192.0.2.0/24": country("DE")}, ip_version=4)
    assert database.find_country(ip_address("192.0.2.1")) == "DE"
    assert database.find_country(ip_address("2001:db8::1")) is None


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (None, ""),
        ({}, ""),
        ({"country": {"iso_code": "de"}}, "DE"),
        ({"country": {"geoname_id": 1}}, ""),
        ({"registered_country": {"iso_code": "US"}}, ""),
        ({"country_code": "NL", "country": "Netherlands"}, "NL"),
        ({"country": "CH"}, "CH"),
        ({"country": "Switzerland"}, None),
        ({"country": {"iso_code": 7}}, None),
        ([], None),
        ("DE", None),
    ],
)
def test_records_of_several_makers_are_read(record: Any, code: str | None) -> None:
    assert read_country(record) == code


def damage_each(data: bytes) -> Iterator[bytes]:
    for cut in range(0, len(data), 97):
        yield data[:cut]
    for place in range(0, len(data), 61):
        yield data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def test_no_broken_file_makes_it_fail(tmp_path: Path) -> None:
    path = tmp_path / "c.mmdb"
    good = build_mmdb(NETWORKS)
    for number, data in enumerate((b"", b"nothing of the kind", os.urandom(4096), *damage_each(good))):
        path.write_bytes(data)
        os.utime(path, ns=(number, number))
        database = CountryDatabase(path)
        with capture_logs() as logs:
            for address in KNOWN:
                found = database.find_country(ip_address(address))
                assert found is None or len(found) in (0, 2)
        assert len([line for line in logs if line["log_level"] == "warning"]) <= 1


@pytest.mark.parametrize("what", ["missing", "a folder", "garbage"])
def test_without_a_file_no_country_is_known_and_one_line_says_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "c.mmdb"
    if what == "a folder":
        path.mkdir()
    elif what == "garbage":
        path.write_bytes(b"x" * 1000)
    database = CountryDatabase(path)
    with capture_logs() as logs:
        assert [database.find_country(ip_address("192.0.2.7")) for _ in range(5)] == [None] * 5
    (line,) = (line for line in logs if line["log_level"] == "warning")
    assert line["path"] == str(path)


def test_a_file_that_changed_is_read_again_and_one_that_went_counts_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "c.mmdb"
    database = write(path, {"192.0.2.0/24": country("DE")})
    address = ip_address("192.0.2.7")
    assert database.find_country(address) == "DE"
    (tmp_path / "new").write_bytes(build_mmdb({"192.0.2.0/24": country("AT")}))
    (tmp_path / "new").replace(path)
    assert database.find_country(address) == "AT"
    path.unlink()
    with capture_logs() as logs:
        assert database.find_country(address) is None
        assert database.find_country(address) is None
    assert [line["log_level"] for line in logs] == ["warning"]
    path.write_bytes(build_mmdb({"192.0.2.0/24": country("CH")}))
    assert database.find_country(address) == "CH"


def test_a_file_that_is_written_over_in_place_does_not_end_the_process(tmp_path: Path) -> None:
    """Were it mapped, reading behind its new end would be SIGBUS."""
    path = tmp_path / "c.mmdb"
    database = write(path, NETWORKS)
    assert database.find_country(ip_address("192.0.2.7")) == "DE"
    database._look_at = float("inf")
    os.truncate(path, 0)
    assert database.find_country(ip_address("198.51.100.1")) == "KP"


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(countries, "_REMEMBERED_AT_MOST", 10)
    database = write(tmp_path / "c.mmdb", NETWORKS)
    for number in range(100):
        assert database.find_country(ip_address(f"192.0.2.{number}")) == "DE"
    assert len(database._remembered) <= 10


def test_places_come_from_files_of_cities_and_never_from_those_of_countries(tmp_path: Path) -> None:
    records = {"192.0.2.0/24": city("DE", 52.52, 13.405, 50), "198.51.100.0/24": country("KP")}
    database = write(tmp_path / "c.mmdb", records, kind="Test-City")
    for _again in range(2):
        assert database.find_place(ip_address("192.0.2.7")) == Place(52.52, 13.405, 50.0)
        assert database.find_place(ip_address("198.51.100.1")) is None
        assert database.find_place(ip_address("10.0.0.1")) is None
    assert database.find_country(ip_address("192.0.2.7")) == "DE"
    write(tmp_path / "c.mmdb", {"192.0.2.0/24": city("AU", -33.87, 151.21)})
    assert database.find_place(ip_address("192.0.2.7")) == Place(-33.87, 151.21, 20.0)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({}, Place(52.0, 13.0, 20.0)),
        ({"location": {"latitude": 52.0, "longitude": 13.0}}, Place(52.0, 13.0, 200.0)),
        ({"location": {"latitude": 52.0, "longitude": 13.0, "accuracy_radius": 0}}, Place(52.0, 13.0, 200.0)),
        ({"location": {"latitude": 52.0}}, None),
        ({"location": {"latitude": "52", "longitude": 13.0}}, None),
        ({"location": {"latitude": 152.0, "longitude": 13.0}}, None),
        ({"location": {"latitude": float("nan"), "longitude": 13.0}}, None),
        ({"location": None}, None),
        ({"traits": {"is_anonymous_vpn": True}}, None),
        ({"traits": {"is_anonymous_vpn": False}}, Place(52.0, 13.0, 20.0)),
        ({"traits": {"is_satellite_provider": True}}, None),
    ],
)
def test_a_place_is_read_only_where_it_is_one(changes: dict[str, Any], place: Place | None) -> None:
    record = {"location": {"latitude": 52.0, "longitude": 13.0, "accuracy_radius": 20}, **changes}
    assert read_place(record) == place
    assert read_place([record]) is None
