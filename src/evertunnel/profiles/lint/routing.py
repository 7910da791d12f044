"""Rules about routes, proxy and traffic filters."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

from evertunnel.profiles.findings import Finding, advice, error
from evertunnel.profiles.model import Network, Profile, Route, Routing, TrafficFilter

_TCP, _UDP = 6, 17


def lint_routing(profile: Profile) -> Iterator[Finding]:
    """Split or force, and what belongs to each."""
    includes = [route for route in profile.routes if not route.excluded]
    if profile.routing is Routing.FORCE:
        if includes:
            yield error(
                "force-routes", "routes", "a force tunnel names routes through the tunnel",
                "everything goes there already, and Windows' routes then contradict each other",
                "remove them, keep exclusions",
            )  # fmt: skip
        if not profile.class_based_route:
            yield error(
                "force-class-route", "class_based_route", "DisableClassBasedDefaultRoute is set on a force tunnel",
                "then nothing is routed into the tunnel", "remove it",
            )  # fmt: skip
        return
    if not profile.class_based_route and not includes and not profile.selectors_as_routes:
        yield error(
            "no-routes", "routes", "a split tunnel has neither routes nor the class-based one",
            "the tunnel comes up and carries nothing", "name the networks to reach",
        )  # fmt: skip
    if profile.class_based_route:
        yield advice(
            "class-route", "class_based_route", "the class-based route is not disabled",
            "Windows adds a /8, /16 or /24 by the first digits of the address it was given",
            "set DisableClassBasedDefaultRoute and name the routes",
        )  # fmt: skip


def lint_routes(profile: Profile) -> Iterator[Finding]:
    """Single routes and pairs of them."""
    for index, route in enumerate(profile.routes):
        if str(route.network) == "::/0":
            yield error(
                "ipv6-default", f"routes[{index}]", "::/0 is a route", "Windows does not take it", "write 2000::/3"
            )
        if str(route.network) == "0.0.0.0/0" and not route.excluded and profile.routing is Routing.SPLIT:
            yield error(
                "default-route", f"routes[{index}]", "a split tunnel has the default route",
                "it competes with the local one by metric", "use force routing",
            )  # fmt: skip
    for first_at, second_at in sorted(_find_pairs(profile.routes)):
        yield from _lint_pair(first_at, profile.routes[first_at], second_at, profile.routes[second_at])
    includes = _Networks(route.network for route in profile.routes if not route.excluded)
    if profile.routing is Routing.SPLIT and includes:
        for index, route in enumerate(profile.routes):
            if route.excluded and not includes.overlap(route.network):
                yield advice(
                    "idle-exclusion", f"routes[{index}]", f"{route.network} is excluded, but nothing includes it",
                    "a split tunnel never carried it", "remove it",
                )  # fmt: skip


def _lint_pair(first_at: int, first: Route, second_at: int, second: Route) -> Iterator[Finding]:
    field = f"routes[{second_at}]"
    if first.network == second.network:
        if first.excluded != second.excluded:
            yield error(
                "route-both-ways", field, f"{second.network} is both included and excluded",
                "which of them Windows keeps is not documented", "remove one",
            )  # fmt: skip
        else:
            yield error(
                "route-twice", field, f"{second.network} stands twice (also routes[{first_at}])",
                "Windows keeps one, and Intune then sees a difference for ever", "remove one",
            )  # fmt: skip
    elif first.excluded == second.excluded and first.network.overlaps(second.network):
        inner, outer = sorted((first, second), key=lambda route: -route.network.prefixlen)
        yield advice(
            "routes-overlap",
            field,
            f"{inner.network} lies in {outer.network}",
            "it adds nothing",
            "remove the smaller one",
        )


def _find_pairs(routes: Sequence[Route]) -> Iterator[tuple[int, int]]:
    """Routes to one network, and each route with the nearest around it of its own kind; never all with all, since a
    file may hold ten thousand."""
    first: dict[tuple[Network, bool], int] = {}
    for index, route in enumerate(routes):
        for excluded in (False, True):
            if (before := first.get((route.network, excluded))) is not None:
                yield before, index
        first.setdefault((route.network, route.excluded), index)
    for version, excluded in product((4, 6), (False, True)):
        of_kind = {
            route.network: index
            for index, route in enumerate(routes)
            if route.network.version == version and route.excluded is excluded
        }
        around: list[Network] = []
        for network in sorted(of_kind, key=lambda network: (int(network.network_address), network.prefixlen)):
            while around and around[-1].broadcast_address < network.network_address:  # type: ignore[operator]
                around.pop()
            if around:
                outer, inner = of_kind[around[-1]], of_kind[network]
                yield min(outer, inner), max(outer, inner)
            around.append(network)


class _Networks:
    """Networks, asked whether one overlaps any of them without looking at each."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._all = set(networks)
        self._begins = sorted((network.version, int(network.network_address)) for network in self._all)

    def __bool__(self) -> bool:
        return bool(self._all)

    def overlap(self, network: Network) -> bool:
        if any(network.supernet(new_prefix=length) in self._all for length in range(network.prefixlen + 1)):
            return True
        at = bisect_left(self._begins, (network.version, int(network.network_address)))
        last = network.version, int(network.broadcast_address)
        return at < len(self._begins) and self._begins[at] <= last


def lint_proxy(profile: Profile) -> Iterator[Finding]:
    """A proxy works in a force tunnel only."""
    if profile.proxy is None:
        return
    if profile.routing is not Routing.FORCE:
        yield error(
            "proxy-split", "proxy", "a split tunnel has a proxy", "Windows uses it in force tunnels only", "remove it"
        )
    server = profile.proxy.server
    if server and ("/" in server or not server.rpartition(":")[2].isdecimal()):
        yield advice(
            "proxy-form", "proxy.server", f"the proxy {server[:80]!r} is not a host with a port",
            "Windows cuts a scheme off and takes port 80 where none is given; Intune then sees a difference for ever",
            "write it as proxy.example.com:8080",
        )  # fmt: skip
    if profile.proxy.auto_config_url and profile.proxy.server:
        yield advice(
            "proxy-both", "proxy", "both a proxy and a configuration URL are given", "the URL is then not used",
            "keep one of them",
        )  # fmt: skip


def lint_filters(profile: Profile) -> Iterator[Finding]:
    """Traffic filters."""
    for index, item in enumerate(profile.traffic_filters):
        field = f"traffic_filters[{index}]"
        if replace(item, name="") == TrafficFilter():
            yield error(
                "filter-empty", field, "the filter has no condition", "everything may pass, as if there were no filter",
                "give it an application, a protocol or addresses, or remove it",
            )  # fmt: skip
        if (item.local_ports or item.remote_ports) and item.protocol not in (_TCP, _UDP):
            yield error(
                "ports-protocol", field, "ports are given without TCP or UDP", "Windows refuses the filter",
                "set protocol 6 or 17",
            )  # fmt: skip
        if item.local_addresses and item.remote_addresses:
            yield error(
                "both-addresses", field, "local and remote addresses are given", "the local ones are ignored",
                "keep the remote addresses",
            )  # fmt: skip
        if item.routing is not None and not item.app:
            yield error(
                "filter-routing", field, "routing is set without an application", "Windows refuses the filter",
                "name the application, or remove the routing",
            )  # fmt: skip
        if item.claims:
            yield advice("claims", field, "claims are set", "reserved, and not used by Windows", "remove them")
        if item.inbound:
            yield advice(
                "inbound", field, "the filter is inbound", "earlier builds do not know Direction", "expect it",
                "Windows 10 before 2004",
            )  # fmt: skip
    if profile.traffic_filters and any(route.network.version == 6 for route in profile.routes):
        yield advice(
            "filters-ipv6", "traffic_filters", "traffic filters together with IPv6 routes",
            "filters were seen not to work with IPv6 in the tunnel", "test it, or leave one of them out",
        )  # fmt: skip


RULES = (lint_routing, lint_routes, lint_proxy, lint_filters)
