"""At most so many in a time, with some saved up for a burst, and whom that is counted for. Pure."""

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network


class RateLimit:
    """A bucket of tokens. It begins full; `burst` is what it holds, a second's worth unless told."""

    def __init__(self, *, per_second: float, burst: float | None = None) -> None:
        self._per_second = per_second
        self._burst = self._tokens = per_second if burst is None else burst
        self._filled_at: float | None = None

    def change(self, *, per_second: float, burst: float) -> None:
        """Another rate from now on. What was saved up beyond `burst` is lost."""
        self._per_second, self._burst, self._tokens = per_second, burst, min(self._tokens, burst)

    def allows(self, uptime: float) -> bool:
        """Take a token, if there is one. `uptime` is seconds of a clock that never jumps."""
        if not self.is_open(uptime):
            return False
        self._tokens -= 1
        return True

    def is_open(self, uptime: float) -> bool:
        """Whether there is a token to take."""
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (uptime - self._filled_at) * self._per_second)
        self._filled_at = uptime
        return self._tokens >= 1


class RateLimits:
    """A bucket for each of many, at most so many; the one that was not asked for the longest is forgotten."""

    def __init__(self, *, per_second: float, burst: float | None = None, at_most: int = 10_000) -> None:
        self._per_second = per_second
        self._burst = burst
        self._at_most = at_most
        self._limits: OrderedDict[Hashable, RateLimit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._limits)

    def change(self, *, per_second: float, burst: float) -> None:
        """Another rate for each from now on."""
        self._per_second, self._burst = per_second, burst
        for limit in self._limits.values():
            limit.change(per_second=per_second, burst=burst)

    def allows(self, key: Hashable, uptime: float) -> bool:
        """Take a token of this one, if there is one."""
        limit = self._limits.get(key)
        if limit is None:
            if len(self._limits) >= self._at_most:
                self._limits.popitem(last=False)
            limit = self._limits[key] = RateLimit(per_second=self._per_second, burst=self._burst)
        self._limits.move_to_end(key)
        return limit.allows(uptime)

    def is_open(self, key: Hashable, uptime: float) -> bool:
        """Whether this one has a token to take. To ask costs no place."""
        limit = self._limits.get(key)
        return limit is None or limit.is_open(uptime)


def name_source(client_address: str) -> str:
    """Who comes from an address, without what he may choose: strongSwan's port in brackets, half an IPv6 address.

    A Calling-Station-Id, which may say anything, or where a connection comes from.
    """
    text = client_address.partition("[")[0].strip()
    try:
        address = ip_address(text)
    except ValueError:
        return text.casefold()
    if not isinstance(address, IPv6Address):
        return str(address)
    # All of IPv4 is one /64 as an IPv6 socket sees it.
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
