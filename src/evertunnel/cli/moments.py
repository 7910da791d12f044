"""Moments as administrators type them: a day, a moment, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from evertunnel.cli.output import fail

_AGO = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
HELP = "a time such as 2026-05-01, 2026-05-01T08:00 (UTC unless it names a zone), or 2h ago: 90s, 30m, 2h, 7d, 2w"


def read_moment(text: str | None, option: str, *, now: datetime) -> str | None:
    """ISO 8601 in UTC; ends the command when it is no moment."""
    if text is None:
        return None
    try:
        if ago := _AGO.fullmatch(text.removesuffix(" ago")):
            moment = now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        else:
            moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        fail(f"{option}: {text[:50]!r} is not {HELP}", code=2)
    return moment.isoformat()
