"""What Intune on Windows 11 chokes on: it compares what it sent with what Windows gives back, character by character.

Any difference is a permanent error (0x87D1FDE8) and endless re-applying, although the tunnel may work. Elsewhere
(WMI, DPC) none of this matters.
"""

from evertunnel.profiles.element_order import NATIVE_ORDER, ORDER, Target
from evertunnel.profiles.findings import Level
from evertunnel.profiles.profile_xml import SUITE_ELEMENTS
from evertunnel.profiles.xml_reading import XMLReader
from evertunnel.profiles.xml_tree import Node

_CLIENT = "Intune on Windows 11"
_WHY = "Intune sees a difference to what Windows gives back, and reports an error for ever (0x87D1FDE8)"
# The order inside of smaller elements, by the samples and the schema, which agree but for Proxy.
_INSIDE = {
    "Proxy": ["Manual", "AutoConfigUrl"],
    "DeviceCompliance": ["Enabled", "Sso"],
    "Sso": ["Enabled", "Eku", "IssuerHash"],
    "Authentication": ["UserMethod", "MachineMethod", "Eap"],
    "CryptographySuite": list(SUITE_ELEMENTS.values()),
    "Route": ["Address", "PrefixSize", "ExclusionRoute", "Metric"],
    "TrafficFilter": ["App", "Claims", "Protocol", "LocalPortRanges", "RemotePortRanges", "LocalAddressRanges",
                      "RemoteAddressRanges", "RoutingPolicyType", "Direction"],
    "DomainNameInformation": ["DomainName", "DnsServers", "WebProxyServers", "AutoTrigger", "Persistent"],
}  # fmt: skip


def check_echo(reader: XMLReader, root: Node) -> None:
    """Report order, servers that are not doubled, and the machine method that is missing."""
    _check_order(reader, root, ORDER[Target.INTUNE], "VPNProfile")
    native = root.find("NativeProfile")
    if native is None:
        return
    path = "VPNProfile/NativeProfile"
    _check_order(reader, native, NATIVE_ORDER[Target.INTUNE], path)
    for parent, at in ((root, "VPNProfile"), (native, path)):
        for child in parent.children:
            _check_inside(reader, child, f"{at}/{child.name}")
    servers = native.find("Servers")
    pairs = [pair.strip() for pair in servers.text.split(",") if pair.strip()] if servers is not None else []
    if servers is not None and any(";" not in pair for pair in pairs):
        doubled = ",".join(pair if ";" in pair else f"{pair};{pair}" for pair in pairs)
        reader.report(
            Level.ADVICE, "servers-not-doubled", "servers", servers, f"{path}/Servers",
            "a server stands without its friendly name", _WHY, f"write {doubled}", _CLIENT,
        )  # fmt: skip
    authentication = native.find("Authentication")
    if authentication is not None and authentication.find("UserMethod") and not authentication.find("MachineMethod"):
        reader.report(
            Level.ADVICE, "machine-method", "authentication", authentication, f"{path}/Authentication",
            "UserMethod stands without MachineMethod", _WHY, "add <MachineMethod>EAP</MachineMethod> after UserMethod",
            _CLIENT,
        )  # fmt: skip


def _check_inside(reader: XMLReader, node: Node, path: str) -> None:
    if node.name in _INSIDE:
        _check_order(reader, node, _INSIDE[node.name], path)
        for child in node.children:
            _check_inside(reader, child, f"{path}/{child.name}")


def _check_order(reader: XMLReader, node: Node, order: list[str], path: str) -> None:
    latest = -1
    for child in node.children:
        if child.name not in order:
            continue
        place = order.index(child.name)
        if place < latest:
            reader.report(
                Level.ADVICE, "order", "", child, f"{path}/{child.name}",
                f"{child.name} stands after {order[latest]}", _WHY, f"move it before {order[latest]}", _CLIENT,
            )  # fmt: skip
            return
        latest = place
