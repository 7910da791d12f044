"""Lists in DPC's settings: routes, names, usages, traffic filters."""

from ipaddress import ip_address, ip_network

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.dpc.reading import DPCReader
from evertunnel.profiles.dpc.syntax import DEFAULT_ROUTES, is_app, is_domain, is_oid, is_route, is_trusted_network
from evertunnel.profiles.findings import Level
from evertunnel.profiles.model import NameRule, PortRange, Route, Routing, TrafficFilter
from evertunnel.profiles.verify import verify_address_range, verify_ports

_EMPTY = "<EMPTY>"


def read_routes(reader: DPCReader, *, force: bool) -> tuple[Route, ...]:
    """Networks through the tunnel with the one metric, then those outside of it."""
    metric = reader.read_number("RouteMetric", "routes") or 0
    included = _read_networks(reader, "RouteList", excluded=False, metric=max(metric, 0))
    excluded = _read_networks(reader, "RouteListExclude", excluded=True, metric=0)
    if force and included:
        reader.report(
            Level.ADVICE, "dpc-routes", "routes", "RouteList", "routes in a force tunnel",
            "DPC ignores them; they are not kept", "remove them, or set ForceTunnel to 0",
        )  # fmt: skip
        included = []
    if not force and not included:
        reader.report(
            Level.ERROR, "dpc-routes", "routes", "RouteList", "a split tunnel without routes",
            "DPC then routes 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 through it", "name the routes",
        )  # fmt: skip
        included = [Route(network, False, max(metric, 0)) for network in DEFAULT_ROUTES]
    return (*included, *excluded)


def _read_networks(reader: DPCReader, name: str, *, excluded: bool, metric: int) -> list[Route]:
    routes = []
    comments = 0
    for row in reader.read_table(name, "routes"):
        text = row.name.strip()
        address, slash, size = text.partition("/")
        try:
            network = ip_network(text, strict=False) if not slash or size.isdecimal() else None
        except ValueError:
            network = None
        if network is None or not is_route(network):
            reader.drop("network", "routes", name, row, row.name, "a network such as 10.0.0.0/8")
            continue
        if slash and ip_address(address) != network.network_address:
            reader.report(
                Level.ERROR, "route-host-bits", "routes", name, f"{text} is no network of that size",
                "Windows refuses or changes it, and DPC then sees a difference for ever", f"write {network}",
                line=row.line,
            )  # fmt: skip
        comments += str(row.data).strip() not in ("", _EMPTY)
        routes.append(Route(network, excluded, metric))
    if comments:
        reader.report(
            Level.ADVICE, "dpc-comment", "routes", name, f"{comments} routes have a comment",
            "a profile does not keep them", "nothing, unless you need them",
        )  # fmt: skip
    return list(dict.fromkeys(routes))


def read_names(reader: DPCReader, name: str, field: str) -> tuple[str, ...]:
    """DNS suffixes, or names of trusted networks."""
    good = is_trusted_network if name == "TrustedNetworks" else is_domain
    names = []
    for row in reader.read_table(name, field):
        if good(str(row.data)):
            names.append(str(row.data))
        else:
            reader.drop("dpc-item", field, name, row, str(row.data), "a name such as corp.example.com")
    return tuple(names)


def read_oids(reader: DPCReader, name: str, field: str) -> tuple[str, ...]:
    """Usages of certificates."""
    found = []
    for row in reader.read_table(name, field):
        if is_oid(str(row.data)):
            found.append(str(row.data))
        else:
            reader.drop("dpc-item", field, name, row, str(row.data), "an object identifier such as 1.3.6.1.5.5.7.3.2")
    return tuple(found)


def read_name_rules(reader: DPCReader) -> tuple[NameRule, ...]:
    """Names with the servers that resolve them; without servers the ordinary DNS does."""
    rules = []
    for row in reader.read_table("DomainNameInfo", "name_rules"):
        data = "" if str(row.data).strip() == _EMPTY else str(row.data)
        servers = [text.strip() for text in data.split(",") if text.strip()]
        if not is_domain(row.name):
            reader.drop("dpc-item", "name_rules", "DomainNameInfo", row, row.name, "a full name, .suffix or a dot")
        elif not all(map(_is_ipv4, servers)):
            reader.drop("dns-server", "name_rules", "DomainNameInfo", row, data, "a list of IPv4 addresses")
        else:
            rules.append(NameRule(row.name, tuple(servers)))
    return tuple(rules)


def _is_ipv4(text: str) -> bool:
    try:
        return ip_address(text).version == 4
    except ValueError:
        return False


def read_filters(reader: DPCReader) -> tuple[TrafficFilter, ...]:
    """Traffic filters, each a subkey; one that DPC would drop is reported and left out."""
    key = reader.take_key("TrafficFilters")
    filters = []
    for below in key.subkeys.values() if key is not None else ():
        inner = DPCReader(below.path, [below], reader.findings)
        if inner.read_flag("Enabled") is not True:
            inner.report(
                Level.ADVICE, "dpc-filter", "traffic_filters", "Enabled", "the filter is not switched on",
                "DPC ignores it; it is not kept", "set Enabled to 1, or remove the filter",
            )  # fmt: skip
            continue
        try:
            filters.append(_read_filter(inner, below.name))
        except (InvalidInputError, ValueError) as error:
            inner.report(
                Level.ERROR, "dpc-filter", "traffic_filters", "", f"the filter cannot be used: {error}",
                "DPC drops it with a warning; without any filter everything may pass", "mend it",
            )  # fmt: skip
        # Not kept: written again, the filter may have another number.
        inner.report_unknown()
    return tuple(filters)


def _read_filter(reader: DPCReader, name: str) -> TrafficFilter:
    protocol = reader.read_number("Protocol")
    app = reader.read_text("AppId").strip()
    force = reader.read_number("RoutingPolicyType") == 1
    item = TrafficFilter(
        name="" if name.lower().removeprefix("trafficfilter").isdecimal() else name,
        app=app,
        protocol=None if protocol is None or protocol == -1 else protocol,
        local_ports=_read_ports(reader, "LocalPorts"),
        remote_ports=_read_ports(reader, "RemotePorts"),
        local_addresses=_read_addresses(reader, "LocalAddresses"),
        remote_addresses=_read_addresses(reader, "RemoteAddresses"),
        routing=(Routing.FORCE if force else Routing.SPLIT) if app else None,
        inbound=reader.read_number("Direction") == 1,
    )
    if app and not is_app(app):
        raise InvalidInputError(f"AppId {app[:80]!r} is neither SYSTEM nor a package nor a full path")
    if item.protocol is not None and not 0 <= item.protocol <= 255:
        raise InvalidInputError(f"Protocol {item.protocol} is not between 0 and 255")
    if (item.local_ports or item.remote_ports) and item.protocol not in (6, 17):
        raise InvalidInputError("ports need Protocol 6 or 17")
    if item.local_addresses and item.remote_addresses:
        raise InvalidInputError("local addresses beside remote ones")
    if TrafficFilter(name=item.name) == item:
        raise InvalidInputError("it says nothing")
    return item


def _read_ports(reader: DPCReader, name: str) -> tuple[PortRange, ...]:
    ports = []
    for text in reader.read_text(name).replace(" ", "").split(","):
        if text:
            first, dash, last = text.partition("-")
            if not all(
                part.isascii() and part.isdecimal() and len(part) <= 5 for part in (first, last if dash else first)
            ):
                raise InvalidInputError(f"{name}: {text[:40]!r} is no port")
            item = PortRange(int(first), int(last if dash else first))
            verify_ports(name, item)
            ports.append(item)
    return tuple(ports)


def _read_addresses(reader: DPCReader, name: str) -> tuple[str, ...]:
    addresses = tuple(text for text in reader.read_text(name).replace(" ", "").split(",") if text)
    for text in addresses:
        verify_address_range(name, text)
        if "-" in text or ":" in text:
            raise InvalidInputError(f"{name}: {text[:60]!r} is not an IPv4 address or network")
    return addresses
