"""The two risks we find ourselves: impossible travel between attempts, and too many failures.

Only what came after proof of a key counts: whoever has none can show any name and any certificate, and must not be able
to raise anybody's risk (reference: RADIUS rules 1). What a place is nobody knows exactly, so little is claimed:

- Two sightings of one key (a device, or a certificate without one) that lie further apart than an aeroplane flies. The
  distance counts without what each place may be off by, and not below 500 km: addresses of one provider wander about a
  country. From 2,000 km on no error of that kind explains it.
- Two devices of one user: a level lower. A computer at home keeps its tunnel while its owner travels.
- Failed passwords and codes on a device of the user's within an hour. Five are what holds a device back for five
  minutes; ten mean that somebody went on after it, twenty that it is no person. A tunnel that is refused for what the
  client said of itself counts once for each thing it said: an Always On client says the same every few seconds.

What our own policies refuse counts for nothing: the client tries again by itself, and the risk would feed itself.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from evertunnel.access.fact_sources import FAILURES, TRAVEL

# How long a risk counts after what was found last.
LIFE = timedelta(hours=24)
LEVELS = ("none", "low", "medium", "high")

# Airliners fly at 900 km/h, with the wind behind them somewhat faster over ground.
_FASTEST_KM_PER_HOUR = 1_000
_SUSPICIOUS_KM, _CERTAIN_KM = 500, 2_000
_EARTH_RADIUS_KM = 6_371
_WITHIN = timedelta(hours=1)
_FAILURES = ((20, "high"), (10, "medium"), (5, "low"))
# Kept in memory: users, of each so many devices and so many failures.
_USERS_AT_MOST = 50_000
_KEYS_AT_MOST = 8
_FAILURES_AT_MOST = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is, and by how many kilometres that may be off."""

    latitude: float
    longitude: float
    radius_km: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """A proven key of a user's, seen at an address. `key` is the device's id, or the certificate's without one."""

    user_id: str
    key: str
    at: datetime
    address: str
    place: Place


@dataclass(frozen=True, slots=True)
class Failure:
    """Something went wrong after proof of a key. Failures with the same `token` are one."""

    user_id: str
    at: datetime
    token: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a user, from what happened at `moments`, in their order."""

    user_id: str
    source: str
    level: str
    moments: tuple[datetime, ...]
    detail: str

    @property
    def at(self) -> datetime:
        """When the last of it happened."""
        return self.moments[-1]

    def without(self, until: datetime) -> "Finding | None":
        """What is left of it when all that happened until then was looked at and dismissed."""
        if self.source == TRAVEL:
            return self if self.moments[0] > until else None
        return _rate_failures(self.user_id, [moment for moment in self.moments if moment > until])


class AttemptMemory:
    """What was seen of users lately, bounded; those not seen for longest are forgotten, and nothing is claimed."""

    def __init__(self) -> None:
        self._sightings: OrderedDict[str, dict[str, Sighting]] = OrderedDict()
        self._failures: OrderedDict[str, deque[Failure]] = OrderedDict()

    def see(self, sighting: Sighting) -> Finding | None:
        """Remember it. What it shows, together with those before."""
        known = self._sightings.setdefault(sighting.user_id, {})
        self._sightings.move_to_end(sighting.user_id)
        found = [finding for other in known.values() if (finding := find_travel(other, sighting)) is not None]
        last = known.pop(sighting.key, None)
        known[sighting.key] = sighting if last is None or last.at <= sighting.at else last
        while len(known) > _KEYS_AT_MOST:
            known.pop(next(iter(known)))
        while len(self._sightings) > _USERS_AT_MOST:
            self._sightings.popitem(last=False)
        return max(found, key=lambda finding: LEVELS.index(finding.level), default=None)

    def fail(self, failure: Failure) -> Finding | None:
        """The same for a failure."""
        known = self._failures.setdefault(failure.user_id, deque(maxlen=_FAILURES_AT_MOST))
        self._failures.move_to_end(failure.user_id)
        while known and known[0].at <= failure.at - _WITHIN:
            known.popleft()
        while len(self._failures) > _USERS_AT_MOST:
            self._failures.popitem(last=False)
        if any(other.token == failure.token for other in known):
            return None
        known.append(failure)
        return _rate_failures(failure.user_id, sorted(each.at for each in known if each.at > failure.at - _WITHIN))


def find_travel(one: Sighting, other: Sighting) -> Finding | None:
    """Whether nobody can have come from one to the other in the time between."""
    first, second = sorted((one, other), key=lambda sighting: sighting.at)
    apart = measure_km(first.place, second.place)
    surely = apart - first.place.radius_km - second.place.radius_km
    hours = (second.at - first.at) / timedelta(hours=1)
    if surely < _SUSPICIOUS_KM or surely <= _FASTEST_KM_PER_HOUR * hours:
        return None
    level = "high" if surely >= _CERTAIN_KM else "medium"
    if first.key != second.key:
        level = LEVELS[LEVELS.index(level) - 1]
    keys = "one key" if first.key == second.key else "two devices"
    detail = (
        f"{keys}: {first.address} at {first.at:%F %T} and {second.address} at {second.at:%F %T} UTC, "
        f"{apart:,.0f} km apart, give or take {first.place.radius_km + second.place.radius_km:,.0f}"
    )
    return Finding(other.user_id, TRAVEL, level, (first.at, second.at), detail)


def measure_km(one: Place, other: Place) -> float:
    """Along the surface of the earth (haversine)."""
    north, south = math.radians(one.latitude), math.radians(other.latitude)
    across = math.radians(other.longitude - one.longitude)
    half = math.sin((south - north) / 2) ** 2 + math.cos(north) * math.cos(south) * math.sin(across / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, half)))


def join_findings(findings: Sequence[Finding]) -> dict[tuple[str, str], Finding]:
    """The highest of each user and source; of several as high the last."""
    joined: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        known = joined.get((finding.user_id, finding.source))
        if known is None or (LEVELS.index(known.level), known.at) <= (LEVELS.index(finding.level), finding.at):
            joined[finding.user_id, finding.source] = finding
    return joined


def _rate_failures(user_id: str, moments: Sequence[datetime]) -> Finding | None:
    for least, level in _FAILURES:
        if len(moments) >= least:
            minutes = max(1, round((moments[-1] - moments[0]) / timedelta(minutes=1)))
            detail = f"{len(moments)} failures after proof of a key within {minutes} min"
            return Finding(user_id, FAILURES, level, tuple(moments), detail)
    return None
