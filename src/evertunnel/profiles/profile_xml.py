"""ProfileXML, written: the order of elements, spelling and doubling that each way to Windows wants.

No single document suits all: Intune compares what it sent with what Windows gives back and fails for ever when a
character differs, the published XSD demands another order, the WMI bridge takes most. Windows itself reads any order.
"""

from collections.abc import Iterable
from dataclasses import replace
from xml.sax.saxutils import escape

from evertunnel.model import TunnelKind
from evertunnel.profiles.cut import Cut
from evertunnel.profiles.eap_xml import build_eap
from evertunnel.profiles.element_order import NATIVE_ORDER, ORDER, Target
from evertunnel.profiles.kept_xml import put_back
from evertunnel.profiles.model import (
    CryptographySuite,
    MachineCertificate,
    NameRule,
    PlainMSCHAPv2,
    PortRange,
    Profile,
    Protocol,
    Proxy,
    Route,
    Server,
    TrafficFilter,
)
from evertunnel.profiles.verify import verify_profile
from evertunnel.profiles.xml_tree import Node, render_xml

FORMAT = "profile-xml"


SUITE_ELEMENTS = {
    "authentication_transform": "AuthenticationTransformConstants",
    "cipher_transform": "CipherTransformConstants",
    "pfs_group": "PfsGroup",
    "dh_group": "DHGroup",
    "integrity_check": "IntegrityCheckMethod",
    "encryption": "EncryptionMethod",
}


def limit_profile(profile: Profile, target: Target) -> tuple[Profile, list[str]]:
    """What of a profile the document can say, and what it cannot."""
    cut = Cut(profile, FORMAT)
    if profile.proxy and (profile.proxy.exceptions or profile.proxy.bypass_local):
        cut.drop(
            "proxy",
            replace(profile.proxy, exceptions=(), bypass_local=False),
            "what bypasses the proxy (PowerShell sets it)",
        )
    if isinstance(profile.authentication, MachineCertificate):
        cut.drop("authentication", MachineCertificate(), "the filter of the machine certificate (PowerShell sets it)")
    cut.change("traffic_filters", tuple(replace(item, name="") for item in profile.traffic_filters))
    if target is Target.SCHEMA:
        later = "published with no schema: "
        for field, element in (
            ("always_on_active", "AlwaysOnActive"),
            ("network_outage_seconds", "NetworkOutageTime"),
            ("ipv4_metric", "IPv4InterfaceMetric"),
            ("ipv6_metric", "IPv6InterfaceMetric"),
            ("use_ras_credentials", "UseRasCredentials"),
            ("data_encryption", "DataEncryption"),
            ("private_network", "PrivateNetwork"),
            ("disable_ikev2_fragmentation", "DisableIKEv2Fragmentation"),
        ):
            cut.drop(field, None, later + element)
        cut.drop("protocol_retry_hours", None, later + "ProtocolList")
        if len(profile.protocols) > 1:
            cut.drop("protocols", profile.protocols[:1], later + "ProtocolList; only the first protocol is left")
    else:
        # The name stands in the URI or the instance, not in the document.
        cut.change("unknown", cut.profile.unknown)
    return cut.profile, cut.losses


def build_profile_xml(profile: Profile, target: Target, *, indent: str = "  ") -> str:
    """The document. Raises InvalidInputError for values that no client can be given."""
    verify_profile(profile)
    limited, _ = limit_profile(profile, target)
    return render_xml(build_tree(limited, target), indent=indent)


def build_escaped(profile: Profile) -> str:
    """The text of an OMA-URI or MDM bridge value: the document on one line, escaped once, the ampersand first."""
    return escape(build_profile_xml(profile, Target.INTUNE, indent=""), {'"': "&quot;"})


def build_tree(profile: Profile, target: Target) -> Node:
    """The elements, in the target's order."""
    top: dict[str, list[Node]] = {}

    def put(name: str, value: object) -> None:
        if value is not None:
            text = ("true" if value else "false") if isinstance(value, bool) else str(value)
            top[name] = [Node(name, text)]

    if target is Target.SCHEMA:
        put("ProfileName", profile.name)
    put("AlwaysOn", profile.always_on)
    put("AlwaysOnActive", None if profile.always_on_active is None else int(profile.always_on_active))
    put("RememberCredentials", profile.remember_credentials or None)
    put("DeviceTunnel", profile.tunnel is TunnelKind.DEVICE or None)
    put("LockDown", profile.lock_down or None)
    put("EdpModeId", profile.enterprise_id or None)
    put("DnsSuffix", ",".join(profile.dns_suffixes) or None)
    put("TrustedNetworkDetection", ",".join(profile.trusted_networks) or None)
    put("DisableAdvancedOptionsEditButton", profile.hide_edit_button or None)
    put("DisableDisconnectButton", profile.hide_disconnect_button or None)
    put("ByPassForLocal", profile.bypass_for_local)
    put("RegisterDNS", profile.register_dns)
    put("NetworkOutageTime", profile.network_outage_seconds)
    put("IPv4InterfaceMetric", profile.ipv4_metric)
    put("IPv6InterfaceMetric", profile.ipv6_metric)
    put("UseRasCredentials", profile.use_ras_credentials)
    put("DataEncryption", profile.data_encryption)
    put("PrivateNetwork", profile.private_network)
    put("DisableIKEv2Fragmentation", profile.disable_ikev2_fragmentation)
    if profile.proxy:
        top["Proxy"] = [_build_proxy(profile.proxy, target)]
    if profile.entra:
        top["DeviceCompliance"] = [_build_compliance(profile)]
    top["AppTrigger"] = [_build_app("AppTrigger", app) for app in profile.app_triggers]
    top["DomainNameInformation"] = [_build_name_rule(rule) for rule in profile.name_rules]
    top["TrafficFilter"] = [_build_filter(item) for item in profile.traffic_filters]
    top["NativeProfile"] = [_build_native(profile, target)]
    top["Route"] = [_build_route(route) for route in profile.routes]
    root = Node("VPNProfile")
    for name in ORDER[target]:
        root.children += top.pop(name, [])
    assert not any(top.values()), f"no place for {list(top)}"
    for unknown in profile.unknown:
        put_back(root, unknown)
    return root


def _build_native(profile: Profile, target: Target) -> Node:
    parts: dict[str, Node] = {
        "Servers": Node("Servers", ",".join(_format_server(server, target) for server in profile.servers)),
        "RoutingPolicyType": Node("RoutingPolicyType", profile.routing),
        "Authentication": _build_authentication(profile, target),
    }
    if len(profile.protocols) > 1 or profile.protocol_retry_hours is not None:
        parts["NativeProtocolType"] = Node("NativeProtocolType", "ProtocolList")
        parts["ProtocolList"] = listed = Node("ProtocolList")
        for protocol in profile.protocols:
            listed.add("NativeProtocol").add(
                "Type", protocol.value.title() if protocol is not Protocol.IKEV2 else "Ikev2"
            )
        if profile.protocol_retry_hours is not None:
            listed.add("RetryTimeInHours", str(profile.protocol_retry_hours))
    else:
        parts["NativeProtocolType"] = Node("NativeProtocolType", profile.protocols[0])
    if profile.l2tp_preshared_key:
        parts["L2tpPsk"] = Node("L2tpPsk", profile.l2tp_preshared_key)
    if not profile.class_based_route:
        parts["DisableClassBasedDefaultRoute"] = Node("DisableClassBasedDefaultRoute", "true")
    if profile.selectors_as_routes is not None:
        parts["PlumbIKEv2TSAsRoutes"] = Node("PlumbIKEv2TSAsRoutes", _flag(profile.selectors_as_routes))
    if profile.cryptography:
        parts["CryptographySuite"] = _build_suite(profile.cryptography)
    return Node("NativeProfile", children=[parts[name] for name in NATIVE_ORDER[target] if name in parts])


def _format_server(server: Server, target: Target) -> str:
    label = server.label or (server.address if target is Target.INTUNE else "")
    return f"{server.address};{label}" if label else server.address


def _build_suite(suite: CryptographySuite) -> Node:
    node = Node("CryptographySuite")
    for field, element in SUITE_ELEMENTS.items():
        node.add(element, getattr(suite, field))
    return node


def _build_authentication(profile: Profile, target: Target) -> Node:
    node = Node("Authentication")
    method = profile.authentication
    if isinstance(method, MachineCertificate):
        node.add("MachineMethod", "Certificate")
    elif isinstance(method, PlainMSCHAPv2):
        node.add("UserMethod", "MSChapv2")
    else:
        node.add("UserMethod", "Eap" if target is Target.SCHEMA else "EAP")
        if target is Target.INTUNE:
            node.add("MachineMethod", "EAP")
        node.add("Eap").add("Configuration").children.append(build_eap(method))
    return node


def _build_proxy(proxy: Proxy, target: Target) -> Node:
    manual = Node("Manual", children=[Node("Server", proxy.server)]) if proxy.server else None
    automatic = Node("AutoConfigUrl", proxy.auto_config_url) if proxy.auto_config_url else None
    order = (manual, automatic) if target is Target.INTUNE else (automatic, manual)
    return Node("Proxy", children=[part for part in order if part])


def _build_compliance(profile: Profile) -> Node:
    assert profile.entra is not None
    node = Node("DeviceCompliance", children=[Node("Enabled", "true")])
    if profile.entra.single_sign_on:
        other = node.add("Sso")
        other.add("Enabled", "true")
        if profile.entra.single_sign_on.usages:
            other.add("Eku", ",".join(profile.entra.single_sign_on.usages))
        if profile.entra.single_sign_on.issuers:
            other.add("IssuerHash", ",".join(profile.entra.single_sign_on.issuers))
    return node


def _build_app(name: str, app: str) -> Node:
    node = Node(name)
    node.add("App").add("Id", app)
    return node


def _build_name_rule(rule: NameRule) -> Node:
    node = Node("DomainNameInformation", children=[Node("DomainName", rule.domain)])
    if rule.servers:
        node.add("DnsServers", ",".join(rule.servers))
    if rule.proxy:
        node.add("WebProxyServers", rule.proxy)
    if rule.auto_trigger:
        node.add("AutoTrigger", "true")
    if rule.persistent:
        node.add("Persistent", "true")
    return node


def _build_filter(item: TrafficFilter) -> Node:
    node = _build_app("TrafficFilter", item.app) if item.app else Node("TrafficFilter")
    for name, text in (
        ("Claims", item.claims),
        ("Protocol", "" if item.protocol is None else str(item.protocol)),
        ("LocalPortRanges", format_ports(item.local_ports)),
        ("RemotePortRanges", format_ports(item.remote_ports)),
        ("LocalAddressRanges", ",".join(item.local_addresses)),
        ("RemoteAddressRanges", ",".join(item.remote_addresses)),
        ("RoutingPolicyType", item.routing or ""),
        ("Direction", "Inbound" if item.inbound else ""),
    ):
        if text:
            node.add(name, text)
    return node


def format_ports(ranges: Iterable[PortRange]) -> str:
    """`n`, `a-b`, separated by commas."""
    return ",".join(str(item.first) if item.first == item.last else f"{item.first}-{item.last}" for item in ranges)


def _build_route(route: Route) -> Node:
    node = Node("Route")
    node.add("Address", str(route.network.network_address))
    node.add("PrefixSize", str(route.network.prefixlen))
    if route.excluded:
        node.add("ExclusionRoute", "true")
    if route.metric:
        node.add("Metric", str(route.metric))
    return node


def _flag(value: bool) -> str:
    return "true" if value else "false"
