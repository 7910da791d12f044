"""DPC (Dynamic Profile Configurator) settings, written: registry values, and the .reg file that sets them.

DPC is a service that makes the profile itself from these values, as a PEAP user tunnel or a machine certificate
device tunnel, or takes a whole ProfileXML (`override`). Names and meanings are DPC 5.2's; from documentation only.
"""

from collections.abc import Iterable

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.dpc.limits import FORMAT, choose_tunnel, limit_dpc
from evertunnel.profiles.dpc.syntax import LONGEST_XML, STRATEGIES, TUNNELS, DPCTunnel, has_variable
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.model import PEAP, MachineCertificate, Profile, Routing, TrafficFilter
from evertunnel.profiles.profile_xml import SUITE_ELEMENTS, build_profile_xml, format_ports
from evertunnel.profiles.read_registry import decode_entry
from evertunnel.profiles.registry import (
    DeletedKey,
    RegistryData,
    RegistryType,
    RegistryValue,
    encode_entry,
    encode_reg_file,
)  # fmt: skip
from evertunnel.profiles.verify import verify_profile

MANUAL_ROOT = "HKEY_LOCAL_MACHINE\\SOFTWARE\\DPC\\DPCClient"
POLICY_ROOT = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\DPC\\DPCClient"
# In the path of an Unknown: the value stood above the tunnel's key, in the settings of the device.
ABOVE = "."
LIST_KEYS = (
    "RouteList", "RouteListExclude", "DNSSuffix", "TrustedNetworks", "DomainNameInfo", "RootCertificates",
    "IssuingCertificates", "NPSList", "ProxyExcludeList", "MachineEKU", "TrafficFilters",
)  # fmt: skip


class _Writer:
    """Values below one tunnel's key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.values: list[RegistryValue] = []

    def put(self, below: str, name: str, kind: RegistryType, data: RegistryData) -> None:
        self.values.append(RegistryValue(f"{self.key}\\{below}" if below else self.key, name, kind, data))

    def put_text(self, name: str, text: str, below: str = "") -> None:
        self.put(below, name, RegistryType.SZ, text)

    def put_number(self, name: str, number: int | bool, below: str = "") -> None:
        self.put(below, name, RegistryType.DWORD, int(number))

    def put_list(self, name: str, items: Iterable[str]) -> None:
        """A list is a subkey: the data count, the names are numbers as the policy editor writes them."""
        for number, item in enumerate(items, 1):
            self.put_text(str(number), item, name)

    def put_table(self, name: str, pairs: Iterable[tuple[str, str]]) -> None:
        """A table is a subkey in which the names count."""
        for item, data in pairs:
            self.put_text(item, data, name)


def build_dpc_values(
    profile: Profile, *, tunnel: DPCTunnel | None = None, policies: bool = False, override: bool = False
) -> list[RegistryValue]:
    """The values for one tunnel, its switch first. With `policies` they stand where Group Policy writes.

    Raises InvalidInputError for what no client can be given, and for what DPC would refuse.
    """
    verify_profile(profile)
    chosen = choose_tunnel(profile, tunnel)
    limited, _ = limit_dpc(profile, tunnel=chosen, override=override)
    root = POLICY_ROOT if policies else MANUAL_ROOT
    writer = _Writer(f"{root}\\{chosen}")
    writer.values.append(RegistryValue(root, chosen, RegistryType.DWORD, 1))
    writer.put_text("ProfileName", limited.name)
    if override:
        document = build_profile_xml(limited, Target.WMI, indent="")
        if len(document) > LONGEST_XML:
            raise InvalidInputError(f"the ProfileXML has {len(document)} characters, DPC takes {LONGEST_XML}")
        writer.put_text("OverrideXML", document)
    else:
        _put_tunnel(writer, limited)
        _put_names(writer, limited)
        _put_routes(writer, limited)
        for number, item in enumerate(limited.traffic_filters, 1):
            _put_filter(writer, f"TrafficFilters\\TrafficFilter{number}", item)
        if isinstance(limited.authentication, PEAP):
            _put_user(writer, limited, limited.authentication, backup=chosen == "UserBackupTunnel")
    if isinstance(limited.authentication, MachineCertificate):
        writer.put_list("MachineEKU", limited.authentication.usages)
    _put_settings(writer, limited, chosen)
    _put_unknown(writer, limited, root)
    return writer.values


def build_dpc_reg(
    profile: Profile, *, tunnel: DPCTunnel | None = None, policies: bool = False, override: bool = False
) -> str:
    """A .reg file; what the tunnel's key held before is removed, since a list left over would go on to count."""
    values = build_dpc_values(profile, tunnel=tunnel, policies=policies, override=override)
    key = f"{values[0].key}\\{values[0].name}"
    lines = [f"DPC settings of the profile {profile.name}, version {profile.version}"]
    lines += [f"Not carried over: {loss}" for loss in limit_dpc(profile, tunnel=tunnel, override=override)[1]]
    return encode_reg_file([DeletedKey(key), *values, build_version_value(profile)], comment="\n".join(lines))


def build_version_value(profile: Profile) -> RegistryValue:
    """Tells an administrator on the client which version it has. DPC has no value for that; the key is ours."""
    return RegistryValue(
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Evertunnel", f"DPC {profile.name}", RegistryType.DWORD, profile.version
    )


def _put_tunnel(writer: _Writer, profile: Profile) -> None:
    writer.put_text("URL", profile.servers[0].address)
    writer.put_number("RegisterDNS", profile.register_dns)
    writer.put_number("DisableUIDisconnectButton", profile.hide_disconnect_button)
    writer.put_number("DisableUIEditButton", profile.hide_edit_button)
    suite = profile.cryptography
    writer.put_number("CustomCryptography", suite is not None)
    for field, name in SUITE_ELEMENTS.items() if suite else ():
        writer.put_text(name, getattr(suite, field))


def _put_settings(writer: _Writer, profile: Profile, tunnel: DPCTunnel) -> None:
    """What DPC sets through RAS once the profile was made."""
    if tunnel != "MachineTunnel":
        writer.put_number("VPNStrategy", next(key for key, item in STRATEGIES.items() if item == profile.protocols))
    if profile.ipv4_metric is not None:
        writer.put_number("InterfaceMetric", profile.ipv4_metric)
    if profile.network_outage_seconds is not None:
        writer.put_number("NetworkOutageTime", profile.network_outage_seconds)
    if profile.use_ras_credentials is not None:
        writer.put_number("DisableRasCredentials", not profile.use_ras_credentials)


def _put_names(writer: _Writer, profile: Profile) -> None:
    writer.put_list("DNSSuffix", profile.dns_suffixes)
    writer.put_list("TrustedNetworks", profile.trusted_networks)
    writer.put_table("DomainNameInfo", ((rule.domain, ",".join(rule.servers)) for rule in profile.name_rules))


def _put_routes(writer: _Writer, profile: Profile) -> None:
    included = [route for route in profile.routes if not route.excluded]
    if included and included[0].metric:
        writer.put_number("RouteMetric", included[0].metric)
    writer.put_table("RouteList", ((str(route.network), "") for route in included))
    writer.put_table("RouteListExclude", ((str(route.network), "") for route in profile.routes if route.excluded))


def _put_filter(writer: _Writer, key: str, item: TrafficFilter) -> None:
    writer.put_number("Enabled", 1, key)
    if item.app:
        kind = RegistryType.EXPAND_SZ if has_variable(item.app) else RegistryType.SZ
        writer.put(key, "AppId", kind, item.app)
        writer.put_number("RoutingPolicyType", item.routing is Routing.FORCE, key)
    writer.put_text("Protocol", "-1" if item.protocol is None else str(item.protocol), key)
    for name, text in (
        ("LocalPorts", format_ports(item.local_ports)),
        ("RemotePorts", format_ports(item.remote_ports)),
        ("LocalAddresses", ",".join(item.local_addresses)),
        ("RemoteAddresses", ",".join(item.remote_addresses)),
    ):
        if text:
            writer.put_text(name, text, key)
    writer.put_number("Direction", item.inbound, key)


def _put_user(writer: _Writer, profile: Profile, method: PEAP, *, backup: bool) -> None:
    selection = profile.selection
    assert selection is not None
    writer.put_number("ForceTunnel", profile.routing is Routing.FORCE)
    if not backup:
        writer.put_number("DisableAlwaysOn", not profile.always_on)
    writer.put_list("RootCertificates", method.trust.roots)
    # With device compliance DPC demands issuers and then does not use them.
    writer.put_list("IssuingCertificates", selection.issuers or method.trust.roots)
    writer.put_list("NPSList", method.trust.names)
    writer.put_number("DisableNPSValidation", not method.trust.enforce_names)
    writer.put_number("DisableCryptoBinding", not method.crypto_binding)
    writer.put_number("EnableEAPSmartCard", selection.smart_card)
    writer.put_number("DeviceComplianceEnabled", profile.entra is not None)
    if profile.entra and (other := profile.entra.single_sign_on):
        writer.put_text("DCIssuerHash", other.issuers[0])
        if other.usages:
            writer.put_text("DCEKUOID", other.usages[0])
    limited = profile.entra is None and bool(selection.usages)
    writer.put_number("LimitEKU", limited)
    if limited:
        writer.put_text("EKUName", selection.usages[0].name)
        writer.put_text("EKUOID", selection.usages[0].oid)
    writer.put_number("EnableProxy", profile.proxy is not None)
    if profile.proxy:
        manual = bool(profile.proxy.server)
        writer.put_number("ProxyType", 2 if manual else 1)
        writer.put_text("ProxyValue", profile.proxy.server or profile.proxy.auto_config_url)
        if manual:
            writer.put_list("ProxyExcludeList", profile.proxy.exceptions)
            writer.put_number("ProxyBypassForLocal", profile.proxy.bypass_local)


def _put_unknown(writer: _Writer, profile: Profile, root: str) -> None:
    """What an importer kept stands where it stood, and replaces nothing that the profile says."""
    said = {(value.key.lower(), value.name.lower()) for value in writer.values}
    lists = [name.lower() for name in LIST_KEYS]
    for unknown in profile.unknown:
        if unknown.format != FORMAT:
            continue
        below = f"{writer.key}\\{unknown.path}" if unknown.path else writer.key
        value = decode_entry(unknown.content, root if unknown.path == ABOVE else below)
        switch = unknown.path == ABOVE and value.name.lower() in [name.lower() for name in TUNNELS]
        if (
            switch
            or unknown.path.lower().partition("\\")[0] in lists
            or (value.key.lower(), value.name.lower()) in said
        ):
            raise InvalidInputError(f"unknown: {unknown.path}\\{value.name} is a setting that the profile itself says")
        if isinstance(value, RegistryValue):
            encode_entry(value)
            writer.values.append(value)
