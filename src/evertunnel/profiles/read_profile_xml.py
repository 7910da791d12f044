"""ProfileXML, read: any order, comments, stray text, mixed case, and the form that Windows gives back."""

import html
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.eap_xml import EAP, read_eap
from evertunnel.profiles.echo import check_echo
from evertunnel.profiles.element_order import NATIVE_ORDER, ORDER, Target
from evertunnel.profiles.findings import Level, Reading
from evertunnel.profiles.hashes import read_hash
from evertunnel.profiles.model import (
    Authentication,
    CryptographySuite,
    DataEncryption,
    EntraCompliance,
    MachineCertificate,
    NameRule,
    PlainMSCHAPv2,
    Profile,
    Protocol,
    Proxy,
    Route,
    Routing,
    Server,
    SingleSignOn,
    TrafficFilter,
)
from evertunnel.profiles.profile_xml import FORMAT, SUITE_ELEMENTS
from evertunnel.profiles.xml_reading import XMLReader
from evertunnel.profiles.xml_tree import Node, parse_xml

_TOP = "VPNProfile"
_NATIVE = f"{_TOP}/NativeProfile"
# What the CSP keeps in a list stands repeated in the document.
_CSP_LISTS = {
    "AppTriggerList": "AppTrigger",
    "RouteList": "Route",
    "DomainNameInformationList": "DomainNameInformation",
    "TrafficFilterList": "TrafficFilter",
}


def read_profile_xml(text: str, *, name: str = "", intune: bool = True) -> Reading:
    """The profile in a document; `name` is used when the document has none.

    With `intune` also what only Intune chokes on is found. Raises InvalidInputError for no XML.
    """
    text = text.lstrip("\ufeff \t\r\n")
    if text[:4].lower() == "&lt;":
        # As it stands in a SyncML Data element or comes out of a CSP node.
        text = html.unescape(text)
    root = parse_xml(text)
    reader = XMLReader(FORMAT)
    wrong = next(_find_namespace(root, root.name), None)
    if wrong is not None:
        node, at = wrong
        reader.report(
            Level.ERROR, "profile-namespace", "", node, at,
            f"{node.name} stands in the namespace {node.namespace[:80]!r}",
            "ProfileXML has no namespace outside of EapHostConfig: Windows does not know the element",
            "remove xmlns from it",
        )  # fmt: skip
    if root.name != _TOP:
        raise InvalidInputError(f"line {root.line}: the document is {root.name[:60]!r}, not VPNProfile")
    return Reading(FORMAT, _read_profile(reader, root, name, intune=intune), tuple(reader.findings), reader.places)


def _read_profile(reader: XMLReader, root: Node, name: str, *, intune: bool) -> Profile:
    own_name = reader.read_text(root, "ProfileName", _TOP, "name")
    native = reader.take(root, "NativeProfile", _TOP, "")
    if native is None:
        reader.report(
            Level.ERROR, "native-profile", "", root, _TOP, "there is no NativeProfile",
            "a profile for the built-in client needs one; plug-in profiles are not read",
            "add NativeProfile with Servers",
        )  # fmt: skip
        native = Node("NativeProfile", line=root.line)
    elif root.find("PluginProfile") is not None:
        reader.report(
            Level.ERROR, "two-profiles", "", native, _NATIVE, "NativeProfile and PluginProfile stand side by side",
            "a connection is the one or the other", "remove one of them",
        )  # fmt: skip
    protocols, retry = _read_protocols(reader, native)
    tunnel = reader.read_flag(root, "DeviceTunnel", _TOP, "tunnel", default=False)
    active = reader.read_number(root, "AlwaysOnActive", _TOP, "always_on_active")
    if active not in (None, 0, 1):
        reader.report(
            Level.ERROR, "number", "always_on_active", root.find("AlwaysOnActive") or root, f"{_TOP}/AlwaysOnActive",
            f"{active} is neither 0 nor 1", "Windows does not apply the element", "write 0 or 1",
        )  # fmt: skip
    profile = Profile(
        name=own_name or name,
        tunnel=TunnelKind.DEVICE if tunnel else TunnelKind.USER,
        servers=_read_servers(reader, native),
        authentication=_read_authentication(reader, native),
        protocols=protocols,
        protocol_retry_hours=retry,
        l2tp_preshared_key=reader.read_text(native, "L2tpPsk", _NATIVE, "l2tp_preshared_key"),
        entra=_read_compliance(reader, root),
        routing=reader.read_choice(
            native, "RoutingPolicyType", _NATIVE, "routing", {item.value: item for item in Routing}
        )
        or Routing.SPLIT,
        class_based_route=not reader.read_flag(
            native, "DisableClassBasedDefaultRoute", _NATIVE, "class_based_route", default=False
        ),
        selectors_as_routes=reader.read_maybe_flag(native, "PlumbIKEv2TSAsRoutes", _NATIVE, "selectors_as_routes"),
        routes=_read_routes(reader, root),
        dns_suffixes=reader.read_list(root, "DnsSuffix", _TOP, "dns_suffixes"),
        name_rules=_read_name_rules(reader, root),
        trusted_networks=reader.read_list(root, "TrustedNetworkDetection", _TOP, "trusted_networks"),
        proxy=_read_proxy(reader, root),
        app_triggers=_read_app_triggers(reader, root),
        traffic_filters=_read_filters(reader, root),
        cryptography=_read_suite(reader, native),
        always_on=reader.read_flag(root, "AlwaysOn", _TOP, "always_on", default=False),
        always_on_active=None if active is None else bool(active),
        lock_down=reader.read_flag(root, "LockDown", _TOP, "lock_down", default=False),
        register_dns=reader.read_flag(root, "RegisterDNS", _TOP, "register_dns", default=False),
        network_outage_seconds=reader.read_number(root, "NetworkOutageTime", _TOP, "network_outage_seconds"),
        ipv4_metric=reader.read_number(root, "IPv4InterfaceMetric", _TOP, "ipv4_metric"),
        ipv6_metric=reader.read_number(root, "IPv6InterfaceMetric", _TOP, "ipv6_metric"),
        hide_disconnect_button=reader.read_flag(
            root, "DisableDisconnectButton", _TOP, "hide_disconnect_button", default=False
        ),
        hide_edit_button=reader.read_flag(
            root, "DisableAdvancedOptionsEditButton", _TOP, "hide_edit_button", default=False
        ),
        remember_credentials=reader.read_flag(root, "RememberCredentials", _TOP, "remember_credentials", default=False),
        bypass_for_local=reader.read_maybe_flag(root, "ByPassForLocal", _TOP, "bypass_for_local"),
        use_ras_credentials=reader.read_maybe_flag(root, "UseRasCredentials", _TOP, "use_ras_credentials"),
        data_encryption=reader.read_choice(
            root, "DataEncryption", _TOP, "data_encryption", {item.value: item for item in DataEncryption}
        ),
        private_network=reader.read_maybe_flag(root, "PrivateNetwork", _TOP, "private_network"),
        disable_ikev2_fragmentation=reader.read_maybe_flag(
            root, "DisableIKEv2Fragmentation", _TOP, "disable_ikev2_fragmentation"
        ),
        enterprise_id=reader.read_text(root, "EdpModeId", _TOP, "enterprise_id"),
    )
    _report_stray_text(reader, root, _TOP)
    if intune:
        check_echo(reader, root)
    inside, outside = set(NATIVE_ORDER[Target.WMI]), set(ORDER[Target.WMI])
    _keep_unknown(reader, root, _TOP, inside, "move it into NativeProfile")
    _keep_unknown(reader, native, _NATIVE, outside, "move it out of NativeProfile, into VPNProfile itself")
    return replace(profile, unknown=tuple(reader.unknown))


def _find_namespace(node: Node, path: str) -> Iterator[tuple[Node, str]]:
    if node.name.lower() == "eaphostconfig":
        return
    if node.namespace:
        yield node, path
    for child in node.children:
        yield from _find_namespace(child, f"{path}/{child.name}")


def _keep_unknown(reader: XMLReader, node: Node, path: str, elsewhere: set[str], mend: str) -> None:
    """What nobody took, but for what stands one level off: written again there it would do as little as before."""
    for child in node.children:
        if child.name in elsewhere:
            reader.report(
                Level.ERROR, "misplaced", "", child, f"{path}/{child.name}", f"{child.name} does not belong here",
                "Windows does not apply it at this place; it is not kept", mend,
            )  # fmt: skip
        elif child.name in _CSP_LISTS:
            reader.report(
                Level.ERROR, "csp-name", "", child, f"{path}/{child.name}",
                f"{child.name} is a node of the VPNv2 CSP, and no element of ProfileXML",
                "Windows does not apply what is inside; it is not kept",
                f"write each {_CSP_LISTS[child.name]} by itself, without a list around",
            )  # fmt: skip
    reader.keep_unknown(node, path, lambda child: child.name in elsewhere or child.name in _CSP_LISTS)


def _report_stray_text(reader: XMLReader, node: Node, path: str) -> None:
    for child in node.children:
        if child.children:
            _report_stray_text(reader, child, f"{path}/{child.name}")
    if node.children and node.text:
        reader.report(
            Level.ADVICE, "stray-text", "", node, path, f"text stands between the elements: {node.text[:60]!r}",
            "it means nothing, and Intune sees a difference to what Windows gives back", "remove it",
        )  # fmt: skip


def _read_servers(reader: XMLReader, native: Node) -> tuple[Server, ...]:
    node = reader.take(native, "Servers", _NATIVE, "servers")
    if node is None or not node.text:
        reader.report(
            Level.ERROR, "servers", "servers", node or native, f"{_NATIVE}/Servers", "no server is named",
            "Windows does not create the connection", "write the public name, such as vpn.example.com",
        )  # fmt: skip
        return ()
    servers = []
    for pair in node.text.split(","):
        address, _, label = (part.strip() for part in pair.partition(";"))
        if address:
            servers.append(Server(address, "" if label.lower() == address.lower() else label))
    return tuple(servers)


def _read_protocols(reader: XMLReader, native: Node) -> tuple[tuple[Protocol, ...], int | None]:
    words: dict[str, Protocol | None] = {item.value: item for item in Protocol}
    words["ProtocolList"] = None
    node = native.find("NativeProtocolType")
    chosen = reader.read_choice(native, "NativeProtocolType", _NATIVE, "protocols", words)
    listed = reader.take(native, "ProtocolList", _NATIVE, "")
    if chosen is not None:
        if listed is not None:
            reader.report(
                Level.ERROR, "protocol-list-idle", "protocols", listed, f"{_NATIVE}/ProtocolList",
                f"a ProtocolList stands beside the protocol {chosen}",
                "the list counts only with NativeProtocolType ProtocolList; it is not kept",
                "write ProtocolList in NativeProtocolType, or remove the list",
            )  # fmt: skip
        return (chosen,), None
    if node is None or node.text.lower() != "protocollist" or listed is None:
        if node is None or node.text.lower() == "protocollist":
            reader.report(
                Level.ERROR, "protocol", "protocols", node or native, f"{_NATIVE}/NativeProtocolType",
                "no protocol is named",
                "Windows then tries what it likes", "write IKEv2",
            )  # fmt: skip
        return (Protocol.AUTOMATIC,), None
    protocols = []
    by_word = {item.value.lower(): item for item in Protocol}
    for entry, path, field in reader.take_all(listed, "NativeProtocol", f"{_NATIVE}/ProtocolList", "protocols"):
        word = reader.read_text(entry, "Type", path, field).lower()
        if word in by_word and by_word[word] not in protocols:
            protocols.append(by_word[word])
        else:
            reader.report(
                Level.ERROR, "protocol-item", "protocols", entry, path, f"{word[:40]!r} is no protocol, or was there",
                "Windows knows Ikev2, Sstp, L2tp and Pptp, each once", "remove it, or write one of them",
            )  # fmt: skip
        reader.keep_unknown(entry, path)
    reader.skip(listed, "RetryTimeInHours")
    reader.keep_unknown(listed, f"{_NATIVE}/ProtocolList")
    # Microsoft's own sample spells it RetryTimeinHours, so its case says nothing.
    hours = listed.find("RetryTimeInHours")
    digits = hours.text if hours is not None else ""
    retry = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else None
    if hours is not None and retry is None:
        reader.report(
            Level.ERROR, "number", "protocol_retry_hours", hours, f"{_NATIVE}/ProtocolList/RetryTimeInHours",
            f"{digits[:40]!r} is no whole number", "Windows does not apply the element", "write hours, such as 168",
        )  # fmt: skip
    return tuple(protocols) or (Protocol.AUTOMATIC,), retry if retry is not None or len(protocols) > 1 else 168


def _read_authentication(reader: XMLReader, native: Node) -> Authentication:
    path = f"{_NATIVE}/Authentication"
    node = reader.take(native, "Authentication", _NATIVE, "authentication")
    if node is None:
        reader.report(
            Level.ERROR, "authentication", "authentication", native, path, "there is no Authentication",
            "Windows does not know how to sign in", "add UserMethod with Eap, or MachineMethod Certificate",
        )  # fmt: skip
        return MachineCertificate()
    user = reader.read_text(node, "UserMethod", path, "").lower()
    machine = reader.read_text(node, "MachineMethod", path, "").lower()
    eap = reader.take(node, "Eap", path)
    reader.keep_unknown(node, path)
    known = _check_methods(reader, node, path, has_eap=eap is not None)
    if user == "mschapv2":
        return PlainMSCHAPv2()
    if eap is None and user == "" and (machine in ("certificate", "") or not known):
        return MachineCertificate()
    configuration = reader.take(eap, "Configuration", f"{path}/Eap") if eap else None
    host = _find_host(configuration) if configuration else None
    if eap is not None:
        reader.keep_unknown(eap, f"{path}/Eap")
    method: EAP | None = None
    if host is not None:
        method = read_eap(reader, host, f"{path}/Eap/Configuration/EapHostConfig")
    if method is None:
        reader.report(
            Level.ERROR, "eap-missing", "authentication", eap or node, path,
            "EAP is asked for, but there is no EapHostConfig",
            "Windows does not know which method to use", "put an EapHostConfig into Eap/Configuration",
        )  # fmt: skip
        return MachineCertificate() if machine == "certificate" else PlainMSCHAPv2()
    return method


def _check_methods(reader: XMLReader, node: Node, path: str, *, has_eap: bool) -> bool:
    """Whether both methods are words of Windows. Says what else is wrong with the two."""
    said: dict[str, str] = {}
    known = True
    for name, words in (("UserMethod", ("EAP", "MSChapv2")), ("MachineMethod", ("Certificate", "EAP"))):
        method = node.find(name)
        if method is None:
            continue
        said[name] = method.text.lower()
        if said[name] not in [word.lower() for word in words]:
            known = False
            reader.report(
                Level.ERROR, "value", "authentication", method, f"{path}/{name}",
                f"{method.text[:40]!r} is not one of {', '.join(words)}",
                "Windows does not know how to sign in", f"write one of {', '.join(words)}",
            )  # fmt: skip
    if not said:
        reader.report(
            Level.ERROR, "authentication", "authentication", node, path,
            "Authentication names neither UserMethod nor MachineMethod",
            "Windows does not know how to sign in",
            "add UserMethod EAP" if has_eap else "add UserMethod with Eap, or MachineMethod Certificate",
        )  # fmt: skip
    if said.get("MachineMethod") == "certificate" and (has_eap or said.get("UserMethod")):
        reader.report(
            Level.ERROR, "methods-mixed", "authentication", node, path,
            "the computer's certificate stands beside a method for users",
            "a tunnel signs in the one way or the other, and which Windows takes is not documented",
            "write MachineMethod EAP for a user tunnel, or MachineMethod Certificate alone for a device tunnel",
        )  # fmt: skip
    return known


def _find_host(configuration: Node) -> Node | None:
    host = configuration.find("EapHostConfig")
    if host is not None:
        return host
    text = configuration.text
    if text[:4].lower() == "&lt;":
        text = html.unescape(text)
    # Unescaped no more often than it was escaped: a name in it would become markup.
    if not text.lower().startswith("<eaphostconfig"):
        return None
    return parse_xml(text, first_line=configuration.text_line or 1)


def _read_compliance(reader: XMLReader, root: Node) -> EntraCompliance | None:
    path = f"{_TOP}/DeviceCompliance"
    node = reader.take(root, "DeviceCompliance", _TOP, "entra")
    if node is None:
        return None
    if not reader.read_flag(node, "Enabled", path, "entra", default=False):
        reader.report(
            Level.ADVICE, "compliance-off", "entra", node, path, "DeviceCompliance is there but not enabled",
            "it does nothing, and is not kept", "remove it, or enable it",
        )  # fmt: skip
        return None
    other = reader.take(node, "Sso", path, "entra.single_sign_on")
    reader.keep_unknown(node, path)
    if other is None or not reader.read_flag(other, "Enabled", f"{path}/Sso", "entra.single_sign_on", default=False):
        return EntraCompliance()
    field = "entra.single_sign_on"
    hashes = reader.read_list(other, "IssuerHash", f"{path}/Sso", f"{field}.issuers", ",;")
    issuers = []
    for text in hashes:
        digits = read_hash(text)
        if digits is None or digits != text:
            reader.report(
                Level.ERROR, "sso-hash", f"{field}.issuers", other, f"{path}/Sso/IssuerHash",
                f"{text[:80]!r} is not 40 lower-case hexadecimal digits without separators",
                "here Windows compares the text, unlike in the EAP configuration",
                "write the digits only, in lower case",
            )  # fmt: skip
        if digits is not None:
            issuers.append(digits)
    usages = reader.read_list(other, "Eku", f"{path}/Sso", f"{field}.usages")
    reader.keep_unknown(other, f"{path}/Sso")
    return EntraCompliance(SingleSignOn(usages, tuple(issuers)))


def _read_routes(reader: XMLReader, root: Node) -> tuple[Route, ...]:
    routes = []
    for node, path, field in reader.take_all(root, "Route", _TOP, "routes"):
        address, prefix = reader.take(node, "Address", path), reader.take(node, "PrefixSize", path)
        network = reader.read_network(address, prefix, path, field, node)
        excluded = reader.read_flag(node, "ExclusionRoute", path, field, default=False)
        metric = reader.read_number(node, "Metric", path, field) or 0
        reader.keep_unknown(node, path)
        if network is None:
            continue
        # As numbers: IPv6 has several spellings of one address.
        if address is not None and ip_address(address.text) != network.network_address:
            reader.report(
                Level.ERROR, "route-host-bits", field, node, path,
                f"{address.text} is no network of that size",
                "Windows refuses or changes it, and Intune then sees a difference for ever",
                f"write {network.network_address}",
            )  # fmt: skip
        routes.append(Route(network, excluded, metric))
    return tuple(routes)


def _read_name_rules(reader: XMLReader, root: Node) -> tuple[NameRule, ...]:
    rules = []
    for node, path, field in reader.take_all(root, "DomainNameInformation", _TOP, "name_rules"):
        servers = []
        for text in reader.read_list(node, "DnsServers", path, field):
            try:
                servers.append(str(ip_address(text)))
            except ValueError:
                reader.report(
                    Level.ERROR, "dns-server", field, node.find("DnsServers") or node, f"{path}/DnsServers",
                    f"{text[:60]!r} is no IP address",
                    "Windows drops the rule", "write addresses, separated by commas",
                )  # fmt: skip
        domain = reader.read_text(node, "DomainName", path, field)
        proxy = reader.read_text(node, "WebProxyServers", path, field)
        trigger = reader.read_flag(node, "AutoTrigger", path, field, default=False)
        persistent = reader.read_flag(node, "Persistent", path, field, default=False)
        reader.keep_unknown(node, path)
        rules.append(NameRule(domain, tuple(servers), proxy, trigger, persistent))
    return tuple(rules)


def _read_proxy(reader: XMLReader, root: Node) -> Proxy | None:
    node = reader.take(root, "Proxy", _TOP, "proxy")
    if node is None:
        return None
    path = f"{_TOP}/Proxy"
    manual = reader.take(node, "Manual", path, "proxy.server")
    server = reader.read_text(manual, "Server", f"{path}/Manual", "proxy.server") if manual else ""
    if manual:
        reader.keep_unknown(manual, f"{path}/Manual")
    url = reader.read_text(node, "AutoConfigUrl", path, "proxy.auto_config_url")
    reader.keep_unknown(node, path)
    return Proxy(url, server) if url or server else None


def _read_app_triggers(reader: XMLReader, root: Node) -> tuple[str, ...]:
    apps = []
    for node, path, _ in reader.take_all(root, "AppTrigger", _TOP, "app_triggers"):
        app = reader.take(node, "App", path)
        reader.keep_unknown(node, path)
        if app is not None and (identifier := reader.read_text(app, "Id", f"{path}/App", "")):
            apps.append(identifier)
            reader.keep_unknown(app, f"{path}/App")
    return tuple(apps)


def _read_filters(reader: XMLReader, root: Node) -> tuple[TrafficFilter, ...]:
    filters = []
    directions = {"Outbound": False, "Inbound": True}
    for node, path, field in reader.take_all(root, "TrafficFilter", _TOP, "traffic_filters"):
        app = reader.take(node, "App", path)
        filters.append(
            TrafficFilter(
                app=reader.read_text(app, "Id", f"{path}/App", field) if app else "",
                claims=reader.read_text(node, "Claims", path, field),
                protocol=reader.read_number(node, "Protocol", path, field),
                local_ports=reader.read_ports(node, "LocalPortRanges", path, field),
                remote_ports=reader.read_ports(node, "RemotePortRanges", path, field),
                local_addresses=reader.read_list(node, "LocalAddressRanges", path, field, level=Level.ADVICE),
                remote_addresses=reader.read_list(node, "RemoteAddressRanges", path, field, level=Level.ADVICE),
                routing=reader.read_choice(
                    node, "RoutingPolicyType", path, field, {item.value: item for item in Routing}
                ),
                inbound=reader.read_choice(node, "Direction", path, field, directions) or False,
            )
        )
        if app:
            reader.keep_unknown(app, f"{path}/App")
        reader.keep_unknown(node, path)
    return tuple(filters)


def _read_suite(reader: XMLReader, native: Node) -> CryptographySuite | None:
    path = f"{_NATIVE}/CryptographySuite"
    node = reader.take(native, "CryptographySuite", _NATIVE, "cryptography")
    if node is None:
        return None
    values = {
        field: reader.read_text(node, element, path, f"cryptography.{field}")
        for field, element in SUITE_ELEMENTS.items()
    }
    reader.keep_unknown(node, path)
    missing = [SUITE_ELEMENTS[field] for field, value in values.items() if not value]
    if missing:
        reader.report(
            Level.ERROR, "suite-incomplete", "cryptography", node, path, f"{', '.join(missing)} is missing",
            "a suite counts only with all six; else the client offers its weak defaults", "give all six or none",
        )  # fmt: skip
    return CryptographySuite(**values)
