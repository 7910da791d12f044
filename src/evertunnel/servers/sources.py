"""Who fails before proving a key: counted against the address it comes from and the gateway that says so, never a name.

Names and certificates can be shown by anybody, so what is counted against them would let a stranger lock their owners
out. An address is only what one gateway says, so it counts on that gateway alone.
"""

from evertunnel.model import Reason
from evertunnel.rate_limit import RateLimits, name_source
from evertunnel.servers.logins import Login, Verdict

FAILURES_PER_MINUTE = 60
_FAILURES_AT_LEAST = 10
# Not the client's doing, or the answer to having failed too often already: that ends by itself.
_NOT_COUNTED = (Reason.INTERNAL_ERROR, Reason.TOO_MANY_FAILURES)


class Sources:
    """How many logins of each source failed lately. The memory of a minute; nothing of it is stored."""

    def __init__(self, *, failures_per_minute: int = FAILURES_PER_MINUTE) -> None:
        self._failures_per_minute = failures_per_minute
        self._limits = RateLimits(per_second=failures_per_minute / 60, burst=failures_per_minute)

    def share_with(self, awake: int) -> None:
        """Count as one of `awake` workers that do: which of them a login comes to is chance.

        Chance gives one worker more of a source's logins than another: a share too small would be used up by accident.
        """
        allowed = self._failures_per_minute
        share = max(min(allowed, _FAILURES_AT_LEAST), allowed // awake)
        self._limits.change(per_second=share / 60, burst=share)

    def may_begin(self, login: Login, uptime: float) -> bool:
        """Whether a login is looked at. A gateway that names no source is not held to account for all its clients."""
        source = name_source(login.client_address)
        return not source or self._limits.is_open((login.gateway.id, source), uptime)

    def count(self, verdict: Verdict) -> None:
        """Take note of how a login ended."""
        login, refusal = verdict.login, verdict.refusal
        if refusal is None or login.proven or refusal.reason in _NOT_COUNTED:
            return
        if source := name_source(login.client_address):
            self._limits.allows((login.gateway.id, source), verdict.uptime)
