"""Whether we have listened long enough to call a silence one. Pure."""

from datetime import datetime, timedelta

# A clock that was set makes everything look old, or nothing.
_STEP = timedelta(seconds=30)


class Listening:
    """Measures by a clock that never jumps, and begins anew when the other one did."""

    def __init__(self) -> None:
        self._since: tuple[datetime, float] | None = None
        self._last: tuple[datetime, float] | None = None

    def has_lasted(self, duration: timedelta, *, now: datetime, uptime: float) -> bool:
        """Whether we were here for so long, without the clock being set. To be asked every minute or so."""
        last, self._last = self._last, (now, uptime)
        stepped = last is not None and abs((now - last[0]) - timedelta(seconds=uptime - last[1])) > _STEP
        if self._since is None or stepped:
            self._since = now, uptime
        return timedelta(seconds=uptime - self._since[1]) >= duration
