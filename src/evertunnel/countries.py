"""The country and the place of an address, from a MaxMind-format file (.mmdb) that the administrator supplies.

A file that is missing, cannot be read or is broken makes every country unknown, which policies take as restricting; a
login never fails over it. Each process reads the file into memory of its own: one that is written over in place would
otherwise end the process that has it mapped.
"""

import math
import os
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import maxminddb
import structlog

from evertunnel.access.computed_risks import Place
from evertunnel.access.conditional.sign_in import NO_COUNTRY

_LOOK_EVERY_SECONDS = 2.0
_BYTES_AT_MOST = 512 * 1024 * 1024
_READ_BYTES = 1 << 20
# Files of countries name one in each of their first few.
_RECORDS_TRIED = 10_000
# An answer costs a walk through the file; live sessions are looked at every few seconds.
_REMEMBERED_AT_MOST = 50_000

# Files that tell places and not how well they know them.
_USUAL_RADIUS_KM = 200.0
# Such an address is where a service comes out, not where its user is.
_NOWHERE = (
    "is_anonymous", "is_anonymous_proxy", "is_anonymous_vpn", "is_anycast", "is_hosting_provider", "is_public_proxy",
    "is_satellite_provider", "is_tor_exit_node",
)  # fmt: skip

log = structlog.get_logger()

_Signature = tuple[int, int, int, int]
_Read = TypeVar("_Read")


class CountryDatabase:
    """One file. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reader: Any = None
        self._signature: _Signature | None = None
        self._look_at = float("-inf")
        self._remembered: dict[IPv4Address | IPv6Address, str] = {}
        self._places: dict[IPv4Address | IPv6Address, Place | None] = {}
        self._said = ""

    def find_country(self, address: IPv4Address | IPv6Address) -> str | None:
        """The code of two capitals; empty if no country has the address, None if nobody can tell."""
        with self._lock:
            self._follow()
            if self._reader is None:
                return None
            found = self._remembered.get(address)
            if found is None:
                found = self._look_up(address, read_country)
                if found is not None:
                    if len(self._remembered) >= _REMEMBERED_AT_MOST:
                        self._remembered.clear()
                    self._remembered[address] = found
            return found

    def find_place(self, address: IPv4Address | IPv6Address) -> Place | None:
        """Where an address is; None if the file does not tell, as one of countries alone never does."""
        with self._lock:
            self._follow()
            if self._reader is None:
                return None
            if address not in self._places:
                if len(self._places) >= _REMEMBERED_AT_MOST:
                    self._places.clear()
                self._places[address] = self._look_up(address, read_place)
            return self._places[address]

    def _look_up(self, address: IPv4Address | IPv6Address, read: Callable[[Any], _Read]) -> _Read | None:
        if address.version == 6 and self._reader.metadata().ip_version == 4:
            return None  # it knows nothing of such addresses
        try:
            return read(self._reader.get(address))
        except Exception as error:  # whatever a broken file makes the library do, a login goes on without
            self._let_go(f"it is broken: {error}")
            return None

    def _follow(self) -> None:
        """Read the file if it is another than before. Looking costs a system call: not at every login."""
        uptime = time.monotonic()
        if uptime < self._look_at:
            return
        self._look_at = uptime + _LOOK_EVERY_SECONDS
        try:
            status = self._path.stat()
            signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if signature == self._signature:
                return
            self._signature = signature
            reader = _open(self._path)
            why = "" if _tells_countries(reader) else "it tells no country: take a file of countries or of cities"
        except OSError as error:
            self._signature = None  # rights may change without the file
            self._let_go(f"it cannot be read: {error.strerror or error}")
        except Exception as error:
            self._let_go(f"it is broken: {error}")
        else:
            self._let_go(why)
            if why:
                return
            self._reader = reader
            log.info("country database read", path=str(self._path), kind=reader.metadata().database_type)

    def _let_go(self, why: str) -> None:
        """Forget what was read; say why, once for the same reason."""
        self._reader = None
        self._remembered = {}
        self._places = {}
        if why and why != self._said:
            log.warning("no country is known, which policies take as restricting", path=str(self._path), why=why)
        self._said = why


def _tells_countries(reader: Any) -> bool:
    """Whether one of its first records does. In a file of networks or of domains, no address has a country."""
    return any(read_country(record) for _network, record in islice(reader, _RECORDS_TRIED))


def read_country(record: Any) -> str | None:
    """The country in a record, as MaxMind, DB-IP and IPinfo write it: empty without one, None if it is no such record.

    Where a block of addresses is registered says nothing of where it is used, so that does not count.
    """
    if record is None:
        return NO_COUNTRY
    if not isinstance(record, dict):
        return None
    country = record.get("country_code", record.get("country"))
    if isinstance(country, dict):
        country = country.get("iso_code")
    if country is None or country == "":
        return NO_COUNTRY
    if isinstance(country, str) and len(country) == 2 and country.isascii() and country.isalpha():
        return country.upper()
    return None


def read_place(record: Any) -> Place | None:
    """The place in a record, as MaxMind and DB-IP write it in their files of cities; None if it tells none."""
    if not isinstance(record, dict):
        return None
    traits = record.get("traits")
    if isinstance(traits, dict) and any(traits.get(name) is True for name in _NOWHERE):
        return None
    location = record.get("location")
    if not isinstance(location, dict):
        return None
    latitude, longitude = (_read_number(location.get(name)) for name in ("latitude", "longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    radius = _read_number(location.get("accuracy_radius"))
    return Place(latitude, longitude, _USUAL_RADIUS_KM if radius is None or radius <= 0 else radius)


def _read_number(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None


def _open(path: Path) -> Any:
    """A reader of a copy of the file in anonymous memory. Raises OSError, or what the library raises."""
    with path.open("rb") as source:
        if os.fstat(source.fileno()).st_size > _BYTES_AT_MOST:
            raise OSError(f"it is larger than {_BYTES_AT_MOST >> 20} MiB")
        descriptor = os.memfd_create("countries")
        with os.fdopen(descriptor, "wb") as copy:
            while part := source.read(_READ_BYTES):
                copy.write(part)
            copy.flush()
            return maxminddb.open_database(f"/proc/self/fd/{descriptor}")
