"""Keys that seal session tickets: the same in all RADIUS workers of a machine, another one every eight hours.

OpenSSL makes them with a Context, and the binding has no call to set or read them (docs/decisions/0019). So all are
made before the fork, one Context a period, and each worker goes from one to the next by the same clock.

Whoever has a key can make tickets that say who he is: no process but the policy server may keep them.
"""

import time

from OpenSSL import SSL

PERIOD_SECONDS = 8 * 3600.0
# Thirty days. Whoever serves for longer than that makes keys of his own, which other workers do not know: a client
# whose ticket is not known proves its key as at the first time.
_PERIODS = 90


class TicketKeys:
    """Contexts that differ in nothing but their keys. `uptime` is seconds of a clock all processes share."""

    def __init__(self, *, uptime: float | None = None, periods: int = _PERIODS) -> None:
        self._began = time.monotonic() if uptime is None else uptime
        self._contexts: dict[int, SSL.Context] = {number: _new_context() for number in range(periods)}

    def find_period(self, uptime: float) -> int:
        """The number of the period that a moment is in."""
        return int((uptime - self._began) // PERIOD_SECONDS)

    def find_context(self, uptime: float) -> SSL.Context:
        """The Context of now. Those of the past are forgotten, with their keys."""
        period = self.find_period(uptime)
        for number in [number for number in self._contexts if number < period]:
            del self._contexts[number]
        if period not in self._contexts:
            self._contexts[period] = _new_context()
        return self._contexts[period]

    def replace(self, uptime: float) -> None:
        """A Context can change its certificate but not the issuers: begin a new one, whose keys nobody else has."""
        self._contexts[self.find_period(uptime)] = _new_context()

    def forget(self) -> None:
        """Keep none: OpenSSL wipes what it frees."""
        self._contexts.clear()


def _new_context() -> SSL.Context:
    return SSL.Context(SSL.TLS_SERVER_METHOD)
