"""What of a profile DPC can say. From documentation only (DPC 5.2, its reference and source)."""

from dataclasses import replace

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.cut import Cut
from evertunnel.profiles.dpc.sign_in import limit_authentication, limit_compliance, limit_machine
from evertunnel.profiles.dpc.syntax import (
    DEFAULT_ROUTES,
    LARGEST_NUMBER,
    STRATEGIES,
    DPCTunnel,
    convert_addresses,
    is_app,
    is_domain,
    is_route,
    is_server,
    is_trusted_network,
)  # fmt: skip
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.model import (
    MachineCertificate,
    NameRule,
    Profile,
    Protocol,
    Route,
    Routing,
    Server,
    TrafficFilter,
)  # fmt: skip
from evertunnel.profiles.profile_xml import limit_profile

FORMAT = "dpc"

_UNSAID = (
    ("protocol_retry_hours", None, "how long another protocol is remembered"),
    ("l2tp_preshared_key", "", "the pre-shared key of L2TP"),
    ("selectors_as_routes", None, "traffic selectors as routes"),
    ("app_triggers", (), "starting with an application"),
    ("always_on_active", None, "the state of the box 'connect automatically'"),
    ("lock_down", False, "LockDown: other traffic is then not blocked"),
    ("remember_credentials", False, "remembering credentials"),
    ("bypass_for_local", None, "the bypass for the local network"),
    ("data_encryption", None, "the demand on encryption"),
    ("private_network", None, "the category of the network"),
    ("disable_ikev2_fragmentation", None, "IKEv2 fragmentation"),
    ("enterprise_id", "", "the enterprise id"),
)


def choose_tunnel(profile: Profile, tunnel: DPCTunnel | None) -> DPCTunnel:
    """The tunnel of DPC a profile goes to. Raises InvalidInputError for one of the other kind."""
    device = profile.tunnel is TunnelKind.DEVICE
    chosen: DPCTunnel = tunnel or ("MachineTunnel" if device else "UserTunnel")
    if (chosen == "MachineTunnel") != device:
        raise InvalidInputError(f"tunnel: a {profile.tunnel} tunnel cannot be DPC's {chosen}")
    return chosen


def limit_dpc(
    profile: Profile, *, tunnel: DPCTunnel | None = None, override: bool = False
) -> tuple[Profile, list[str]]:
    """The profile cut down to what DPC makes of it, and a line for each thing lost.

    With `override` DPC takes a whole ProfileXML, so only what it sets beside the document is cut. Raises
    InvalidInputError where DPC would refuse the profile, or open what the profile keeps closed.
    """
    chosen = choose_tunnel(profile, tunnel)
    cut = Cut(profile, FORMAT)
    _limit_settings(cut, chosen)
    if override:
        return _limit_document(cut)
    _limit_server(cut)
    for field, value, what in _UNSAID:
        cut.drop(field, value, f"{what}; DPC has no setting for it")
    if chosen == "UserBackupTunnel":
        cut.drop("always_on", False, "always on: DPC's backup tunnel never is")
    if chosen == "MachineTunnel":
        if not isinstance(profile.authentication, MachineCertificate):
            raise InvalidInputError("authentication: DPC's device tunnel signs in with the machine certificate only")
        limit_machine(cut)
        cut.drop("always_on", True, "not being always on: DPC's device tunnel is")
        cut.drop("routing", Routing.SPLIT, "the force tunnel: DPC's device tunnel is split")
        cut.drop("entra", None, "DeviceCompliance, which a device tunnel cannot have")
    else:
        limit_compliance(cut)
        limit_authentication(cut)
    _limit_routes(cut)
    _limit_names(cut)
    _limit_proxy(cut)
    _limit_filters(cut)
    if cut.profile.protocols == (Protocol.SSTP,):
        cut.drop("cryptography", None, "the cryptography suite, which does not count for SSTP")
    return cut.profile, cut.losses


def _limit_document(cut: Cut) -> tuple[Profile, list[str]]:
    method, unknown = cut.profile.authentication, cut.profile.unknown
    if isinstance(method, MachineCertificate):
        # DPC sets the usages beside the document.
        limit_machine(cut)
        method = cut.profile.authentication
        cut.change("authentication", MachineCertificate())
    limited, losses = limit_profile(replace(cut.profile, unknown=()), Target.WMI)
    if isinstance(method, MachineCertificate):
        limited = replace(limited, authentication=method)
    return replace(limited, unknown=unknown), cut.losses + losses


def _limit_settings(cut: Cut, chosen: DPCTunnel) -> None:
    """What DPC sets through RAS after the profile was made, over whatever a document says."""
    wanted = tuple(item for item in cut.profile.protocols if item in (Protocol.IKEV2, Protocol.SSTP))
    if cut.profile.protocols == (Protocol.AUTOMATIC,):
        wanted = (Protocol.IKEV2, Protocol.SSTP)
    if chosen == "MachineTunnel" or wanted not in STRATEGIES.values():
        wanted = (Protocol.IKEV2,)
    cut.drop("protocols", wanted, f"the protocols; DPC will use {' then '.join(wanted)}")
    cut.drop("protocol_retry_hours", None, "how long another protocol is remembered; DPC has no setting for it")
    metric = cut.profile.ipv4_metric or cut.profile.ipv6_metric
    both = "an interface metric of its own for IPv4 and IPv6; DPC has one for both"
    cut.drop("ipv4_metric", metric, both)
    cut.drop("ipv6_metric", metric, both)
    if (cut.profile.network_outage_seconds or 0) > LARGEST_NUMBER:
        cut.drop("network_outage_seconds", None, f"an outage time above {LARGEST_NUMBER} seconds; DPC uses 1800")
    if cut.profile.network_outage_seconds == 0:
        cut.losses.append("an outage time of 0, which Microsoft says is without limit: DPC switches reconnecting off")


def _limit_server(cut: Cut) -> None:
    first = cut.profile.servers[0]
    if not is_server(first.address):
        raise InvalidInputError(f"servers[0].address: {first.address!r}: DPC needs a full name with a dot, no address")
    if len(cut.profile.servers) > 1:
        cut.losses.append("all servers but the first")
    cut.drop("servers", (Server(first.address),), "the servers' friendly names")


def _limit_routes(cut: Cut) -> None:
    force = cut.profile.routing is Routing.FORCE
    if not force:
        cut.drop("class_based_route", False, "the class-based route: DPC always switches it off in a split tunnel")
    # A force tunnel takes everything: there the class-based route changes nothing, and DPC does not name it.
    cut.change("class_based_route", force)
    included = {route.network: route for route in reversed(cut.profile.routes) if not route.excluded}
    excluded = {route.network: replace(route, metric=0) for route in cut.profile.routes if route.excluded}
    kept = [route for route in cut.profile.routes if not route.excluded and included[route.network] is route]
    kept = [route for route in kept if is_route(route.network) and not force]
    metric = kept[0].metric if kept and kept[0].metric <= LARGEST_NUMBER else 0
    routes = [replace(route, metric=metric) for route in kept]
    routes += [route for route in excluded.values() if is_route(route.network)]
    if set(routes) != set(cut.profile.routes):
        cut.losses.append(
            "routes: DPC has one metric for all, no network twice, none of length 0, only exclusions in a force tunnel"
        )
    if not force and not kept:
        cut.losses.append(
            "a split tunnel without routes: DPC routes 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 through it"
        )
        routes = [*(Route(network) for network in DEFAULT_ROUTES), *routes]
    # The order of routes has no meaning.
    cut.change("routes", tuple(routes))


def _limit_names(cut: Cut) -> None:
    profile = cut.profile
    good = tuple(name for name in profile.dns_suffixes if is_domain(name))
    cut.drop("dns_suffixes", good, "DNS suffixes that are no full names")
    good = tuple(name for name in profile.trusted_networks if is_trusted_network(name))
    cut.drop("trusted_networks", good, "trusted networks that are no names")
    rules: dict[str, NameRule] = {}
    for rule in profile.name_rules:
        servers = tuple(server for server in rule.servers if ":" not in server)
        # Without servers a rule means the ordinary DNS, so one that had only IPv6 servers goes as a whole.
        if is_domain(rule.domain) and (servers or not rule.servers):
            rules.setdefault(
                rule.domain.lower(), replace(rule, servers=servers, proxy="", auto_trigger=False, persistent=False)
            )
    cut.drop(
        "name_rules", tuple(rules.values()),
        "of name rules: short names, names given twice, IPv6 servers, proxies, triggers, rules that stay",
    )  # fmt: skip


def _limit_proxy(cut: Cut) -> None:
    proxy = cut.profile.proxy
    if proxy is None:
        return
    if cut.profile.routing is not Routing.FORCE or not (proxy.server or proxy.auto_config_url):
        cut.drop("proxy", None, "the proxy: DPC has it for a force tunnel only")
    elif proxy.server:
        cut.drop("proxy", replace(proxy, auto_config_url=""), "the automatic proxy configuration beside a proxy server")
    else:
        cut.drop(
            "proxy", replace(proxy, exceptions=(), bypass_local=False), "exceptions of an automatic proxy configuration"
        )


def _limit_filters(cut: Cut) -> None:
    """A filter is only ever made narrower: where filters stand, what matches none is blocked."""
    filters = []
    for item in cut.profile.traffic_filters:
        remote = convert_addresses(item.remote_addresses)
        # Windows ignores local addresses beside remote ones; DPC refuses both.
        local = () if item.remote_addresses else convert_addresses(item.local_addresses)
        limited = replace(item, name="", remote_addresses=remote, local_addresses=local)
        limited = replace(limited, routing=(item.routing or Routing.SPLIT) if item.app else None)
        if (
            not item.claims
            and (not item.app or is_app(item.app))
            and bool(remote) == bool(item.remote_addresses)
            and (local or item.remote_addresses or not item.local_addresses)
            and (item.protocol in (6, 17) or not (item.local_ports or item.remote_ports))
            and limited != TrafficFilter()
        ):
            filters.append(limited)
    if cut.profile.traffic_filters and not filters:
        raise InvalidInputError("traffic_filters: DPC takes none of them, and without filters everything may pass")
    # Names of filters no client sees.
    cut.change("traffic_filters", tuple(replace(item, name="") for item in cut.profile.traffic_filters))
    cut.drop(
        "traffic_filters", tuple(filters),
        "of traffic filters: IPv6, ranges (written as networks), claims, apps without path, ports without TCP or UDP",
    )  # fmt: skip
