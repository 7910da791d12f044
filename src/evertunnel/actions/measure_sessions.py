"""How much the tunnels were used: sessions, time, octets, people, and how many at once. Pure but for the reading."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from evertunnel.storage.session_history import list_tunnels


class By(StrEnum):
    """What gets a line of its own."""

    USER = "user"
    DEVICE = "device"
    GATEWAY = "gateway"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Span:
    """A tunnel that was up, clipped to the time asked for. Its octets are those of the whole tunnel."""

    began_at: datetime
    ended_at: datetime
    bytes_in: int
    bytes_out: int
    user: str | None = None
    device: str | None = None
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of the statistics."""

    name: str
    sessions: int
    seconds: int
    bytes_in: int
    bytes_out: int
    users: int
    devices: int
    at_once: int


def measure_sessions(connection: Connection, *, since: datetime, until: datetime, by: By | None = None) -> list[Usage]:
    """The usage in a time: one line for all, or one for each user, device, gateway or day (UTC)."""
    spans = [
        Span(
            began_at=max(row.up_at, since),
            ended_at=max(min(row.ended_at or until, until), max(row.up_at, since)),
            bytes_in=row.bytes_in,
            bytes_out=row.bytes_out,
            user=row.user_name,
            device=row.device_name,
            gateway=row.gateway_name,
        )
        for row in list_tunnels(connection, since=since, until=until)
    ]
    return measure_spans(spans, by)


def measure_spans(spans: Iterable[Span], by: By | None = None) -> list[Usage]:
    """One line for all, or one for each of something, by name."""
    if by is None:
        return [_measure("", list(spans))]
    grouped: dict[str, list[Span]] = defaultdict(list)
    if by is By.DAY:
        for span in spans:
            for day in _split_by_day(span):
                grouped[f"{day.began_at:%F}"].append(day)
    else:
        name_of: Callable[[Span], str | None] = {
            By.USER: lambda span: span.user,
            By.DEVICE: lambda span: span.device,
            By.GATEWAY: lambda span: span.gateway,
        }[by]
        for span in spans:
            grouped[name_of(span) or ""].append(span)
    return [_measure(name, grouped[name]) for name in sorted(grouped)]


def _measure(name: str, spans: list[Span]) -> Usage:
    return Usage(
        name=name,
        sessions=len(spans),
        seconds=round(sum((span.ended_at - span.began_at).total_seconds() for span in spans)),
        bytes_in=sum(span.bytes_in for span in spans),
        bytes_out=sum(span.bytes_out for span in spans),
        users=len({span.user for span in spans if span.user}),
        devices=len({span.device for span in spans if span.device}),
        at_once=_count_at_once(spans),
    )


def _count_at_once(spans: list[Span]) -> int:
    """The most that were up at one moment. An end comes before a beginning at the same moment."""
    steps = sorted([(span.began_at, 1) for span in spans] + [(span.ended_at, -1) for span in spans])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def _split_by_day(span: Span) -> Iterator[Span]:
    """Its part of each day. Nobody knows when octets went, so they count on the day it came up."""
    began_at, bytes_in, bytes_out = span.began_at, span.bytes_in, span.bytes_out
    while True:
        midnight = began_at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        ended_at = min(span.ended_at, midnight)
        yield Span(began_at, ended_at, bytes_in, bytes_out, span.user, span.device, span.gateway)
        if span.ended_at <= midnight:
            return
        began_at, bytes_in, bytes_out = midnight, 0, 0
