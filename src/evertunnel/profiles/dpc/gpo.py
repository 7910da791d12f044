"""DPC settings for Group Policy: a list of what to set in DPC's administrative templates, and LGPO.exe's text.

Names of policies are those of DPC 5.2's ADMX in English; LGPO's text is that of its version 3. From documentation only.
"""

import csv
from types import SimpleNamespace

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.dpc.syntax import DPCTunnel
from evertunnel.profiles.dpc.values import LIST_KEYS, build_dpc_values
from evertunnel.profiles.model import Profile
from evertunnel.profiles.profile_xml import SUITE_ELEMENTS
from evertunnel.profiles.registry import RegistryData, RegistryType, RegistryValue

_TOP = "Computer Configuration\\Policies\\Administrative Templates\\DPC Client"
_FOLDERS = {
    "UserTunnel": "User Tunnel Settings",
    "UserBackupTunnel": "Backup User Tunnel Settings",
    "MachineTunnel": "Device Tunnel Settings",
}
_SWITCHES = {
    "UserTunnel": "Optional - Enable AOVPN User Tunnel",
    "UserBackupTunnel": "Optional - Enable AOVPN Backup User Tunnel",
    "MachineTunnel": "Optional - Enable AOVPN Device Tunnel",
}
_POLICIES = {
    "ProfileName": "Required - Connection Name",
    "URL": "Required - VPN Endpoint",
    "RootCertificates": "Required - Trusted Root Certificates",
    "IssuingCertificates": "Required - Trusted Issuing Certificates",
    "NPSList": "Required - NPS / RADIUS List",
    "ForceTunnel": "Optional - Default All Traffic through VPN (Force Tunnel)",
    "RouteList": "Optional - Allowed Routes",
    "RouteListExclude": "Optional - Excluded Routes",
    "DNSSuffix": "Optional - Specify DNS Suffix List",
    "DomainNameInfo": "Optional - Specify Domain Name Information",
    "TrustedNetworks": "Optional - Trusted Network Detection",
    "RegisterDNS": "Optional - Register Device in DNS",
    "EnableProxy": "Optional - Enable Proxy Settings",
    "ProxyType": "Optional - Enable Proxy Settings",
    "ProxyValue": "Optional - Enable Proxy Settings",
    "ProxyExcludeList": "Optional - Enable Manual Proxy Exclusions",
    "ProxyBypassForLocal": "Optional - Enable Manual Proxy Exclusions",
    "DisableUIDisconnectButton": "Optional - Disable Disconnect Button",
    "DisableUIEditButton": "Optional - Disable Advanced Edit Button",
}
_ADVANCED = {
    "VPNStrategy": "Optional - VPN Protocol",
    "CustomCryptography": "Optional - Enable Custom Cryptography",
    **dict.fromkeys(SUITE_ELEMENTS.values(), "Optional - Enable Custom Cryptography"),
    "RouteMetric": "Optional - Route Metric",
    "InterfaceMetric": "Optional - VPN Tunnel Metric",
    "NetworkOutageTime": "Optional - Network Outage Time",
    "LimitEKU": "Optional - Limit the User Certificate EKU",
    "EKUName": "Optional - Limit the User Certificate EKU",
    "EKUOID": "Optional - Limit the User Certificate EKU",
    "DeviceComplianceEnabled": "Optional - Device Compliance Settings",
    "DCEKUOID": "Optional - Device Compliance Settings",
    "DCIssuerHash": "Optional - Device Compliance Settings",
    "EnableEAPSmartCard": "Optional - Enable SmartCard Authentication",
    "DisableAlwaysOn": "Optional - Disable Automatic Start",
    "DisableNPSValidation": "Optional - Disable NPS Validation",
    "DisableCryptoBinding": "Optional - Disable Crypto Binding",
    "DisableRasCredentials": "Optional - Disable Credential Caching",
    "MachineEKU": "Optional - Machine Certificate EKU Filter",
    "OverrideXML": "Optional - Override XML",
}
_SWITCHED = frozenset((
    "ForceTunnel", "RegisterDNS", "EnableProxy", "DisableUIDisconnectButton", "DisableUIEditButton",
    "CustomCryptography", "LimitEKU", "DeviceComplianceEnabled", "EnableEAPSmartCard",
    "DisableAlwaysOn", "DisableNPSValidation", "DisableCryptoBinding", "DisableRasCredentials",
))  # fmt: skip
_CHOICES: dict[str, dict[RegistryData, str]] = {
    "VPNStrategy": {
        5: "SSTP Only", 6: "SSTP First, IKEv2 Fallback", 7: "IKEv2 Only", 14: "IKEv2 First, SSTP Fallback",
    },
    "NetworkOutageTime": {
        0: "Disabled", 60: "1 Minute", 300: "5 Minutes", 600: "10 Minutes", 1200: "20 Minutes", 1800: "30 Minutes",
        3600: "1 Hour", 7200: "2 Hours", 14400: "4 Hours", 28800: "8 Hours",
    },
    "ProxyType": {1: "PAC File", 2: "Proxy Server"},
    "ProxyBypassForLocal": {0: "Disabled", 1: "Enabled"},
    "RoutingPolicyType": {0: "Split Tunnel", 1: "Force Tunnel"},
    "Direction": {0: "Outbound", 1: "Inbound"},
    "Protocol": {"-1": "Any", "6": "TCP", "17": "UDP", "1": "ICMP"},
}  # fmt: skip
_MOST_FILTERS = 20
_LONGEST_POLICY_TEXT = 1_023
_NO_POLICY = "no policy sets this; set the registry value instead (Preferences, Registry)"


def build_dpc_gpo(profile: Profile, *, tunnel: DPCTunnel | None = None, override: bool = False) -> str:
    """A CSV table, to be worked through in the policy editor: path of the policy, its name, what to enter, a remark."""
    values = build_dpc_values(profile, tunnel=tunnel, policies=True, override=override)
    lines: list[str] = []
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerow(("Policy path", "Setting", "Value", "Registry value", "Remark"))
    chosen = values[0].name
    for value in values:
        row = _describe_switch(chosen) if value is values[0] else _describe(value, chosen, values[0].key)
        writer.writerow(tuple(map(_defuse, row)))
    return "".join(lines)


def build_dpc_lgpo(profile: Profile, *, tunnel: DPCTunnel | None = None, override: bool = False) -> str:
    """Text for `LGPO.exe /t` (local policy) or `LGPO.exe /r FILE /w registry.pol` (for a GPO), four lines a value.

    The lists are emptied first. Raises InvalidInputError for a value that the text cannot carry in a line.
    """
    values = build_dpc_values(profile, tunnel=tunnel, policies=True, override=override)
    root, chosen = values[0].key, values[0].name
    blocks = [(f"{root}\\{chosen}\\{name}", "*", "DELETEALLVALUES") for name in LIST_KEYS if name != "TrafficFilters"]
    blocks += [(value.key, value.name, _encode_lgpo(value)) for value in values]
    lines = [f"Computer\n{_strip_machine(key)}\n{name}\n{action}\n" for key, name, action in blocks]
    return "\n".join(lines)


def _describe_switch(tunnel: str) -> tuple[str, ...]:
    return _TOP, _SWITCHES[tunnel], "Enabled", tunnel, ""


def _describe(value: RegistryValue, tunnel: str, root: str) -> tuple[str, ...]:
    below = value.key.removeprefix(f"{root}\\{tunnel}").removeprefix("\\")
    name, _, rest = below.partition("\\")
    folder = f"{_TOP}\\{_FOLDERS[tunnel]}"
    place = f"{tunnel}\\{below}\\{value.name}".replace("\\\\", "\\")
    if value.key == root:
        return _TOP, "", _spell(value.data), value.name, _NO_POLICY
    if name == "TrafficFilters":
        number = rest.removeprefix("TrafficFilter")
        remark = "" if number.isdecimal() and int(number) <= _MOST_FILTERS else _NO_POLICY
        entered = "Enabled" if value.name == "Enabled" else f"{value.name}: {_format(value)}"
        return f"{folder}\\Traffic Filters", f"Traffic Filter {number}", entered, place, remark
    setting = name or value.name
    policy = _POLICIES.get(setting) or _ADVANCED.get(setting)
    if tunnel == "MachineTunnel" and setting == "RouteList":
        policy = "Required - Allowed Routes"
    if policy is None or (tunnel == "MachineTunnel" and setting == "DomainNameInfo"):
        return folder, "", _format(value), place, _NO_POLICY
    if setting in _ADVANCED:
        folder += "\\Advanced"
    remark = ""
    if setting in _CHOICES and value.data not in _CHOICES[setting]:
        remark = _NO_POLICY
    if isinstance(value.data, str) and len(value.data) > _LONGEST_POLICY_TEXT:
        remark = f"the policy editor cuts texts at {_LONGEST_POLICY_TEXT} characters; " + _NO_POLICY
    if setting in _SWITCHED:
        entered = "Enabled" if value.data == 1 else "Disabled"
    elif setting in ("RouteList", "RouteListExclude", "DomainNameInfo"):
        # The editor demands something in the second column.
        entered = f"{value.name} | {_spell(value.data) or '<EMPTY>'}"
    elif name:
        entered = _spell(value.data)
    else:
        entered = f"{value.name}: {_format(value)}" if value.name in SUITE_ELEMENTS.values() else _format(value)
    return folder, policy, entered, place, remark


def _format(value: RegistryValue) -> str:
    return _CHOICES.get(value.name, {}).get(value.data) or _spell(value.data)


def _spell(data: RegistryData) -> str:
    return data if isinstance(data, str) else data.hex() if isinstance(data, bytes) else str(data)


def _defuse(text: str) -> str:
    """A spreadsheet takes a cell that begins so for a formula."""
    return "'" + text if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def _encode_lgpo(value: RegistryValue) -> str:
    kinds = {RegistryType.SZ: "SZ", RegistryType.EXPAND_SZ: "EXSZ", RegistryType.DWORD: "DWORD"}
    kind = {int(key): name for key, name in kinds.items()}.get(value.type)
    text = _spell(value.data)
    if (
        kind is None
        or not value.name
        or value.name[0] in ";*"
        or any(ord(character) < 32 for character in value.name + text)
    ):
        raise InvalidInputError(f"{value.key}\\{value.name}: LGPO's text cannot carry it")
    return f"{kind}:{text}"


def _strip_machine(key: str) -> str:
    return key.removeprefix("HKEY_LOCAL_MACHINE\\")
