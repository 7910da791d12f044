"""At most so many a second, with as many saved up for a burst. Pure."""


class RateLimit:
    """A bucket of tokens."""

    def __init__(self, *, per_second: float) -> None:
        self._per_second = per_second
        self._tokens = per_second
        self._filled_at: float | None = None

    def allows(self, uptime: float) -> bool:
        """Take a token, if there is one. `uptime` is seconds of a clock that never jumps."""
        if self._filled_at is not None:
            self._tokens = min(self._per_second, self._tokens + (uptime - self._filled_at) * self._per_second)
        self._filled_at = uptime
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
