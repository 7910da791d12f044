"""DPC settings, read from an export of the registry: every tunnel that it holds."""

from collections.abc import Iterable
from dataclasses import replace

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.dpc.limits import FORMAT
from evertunnel.profiles.dpc.read_lists import read_filters, read_name_rules, read_names, read_oids, read_routes
from evertunnel.profiles.dpc.read_user import read_compliance, read_method, read_proxy
from evertunnel.profiles.dpc.reading import DPCReader
from evertunnel.profiles.dpc.syntax import LONGEST_XML, STRATEGIES, TUNNELS, DPCTunnel, is_server
from evertunnel.profiles.dpc.values import ABOVE, LIST_KEYS, MANUAL_ROOT, POLICY_ROOT
from evertunnel.profiles.findings import Finding, Level, Reading
from evertunnel.profiles.model import CryptographySuite, MachineCertificate, Profile, Protocol, Routing, Server
from evertunnel.profiles.profile_xml import SUITE_ELEMENTS
from evertunnel.profiles.read_profile_xml import read_profile_xml
from evertunnel.profiles.read_registry import decode_reg_file
from evertunnel.profiles.registry import Operation
from evertunnel.profiles.registry_tree import RegistryKey, build_registry_tree

# Settings of the device, and of a tunnel, that DPC knows and a profile does not hold.
_DEVICE_SETTINGS = (
    "RefreshPeriod", "RemoveAllProfiles", "ClearDisableProfileList", "MigrationBlock", "MTU",
    "RestartOnPortAlreadyOpen", "ShowDeviceTunnelInUI", "EventLogPath", "EventLogFilter", "MonitorVPN", "ProductKey",
)  # fmt: skip
_TUNNEL_SETTINGS = (
    "SavePath", "DebugPath", "ExcludeOffice365", "IncludeDeviceTunnelRoutes", "DNSRouteList", "DNSExcludeRouteList",
)  # fmt: skip


def read_dpc(source: str | Iterable[Operation]) -> list[Reading]:
    """The tunnels in a .reg file or in registry values, policies over manual settings.

    Raises InvalidInputError for what is no registry file, and when it holds no tunnel of DPC.
    """
    tree = build_registry_tree(decode_reg_file(source) if isinstance(source, str) else source)
    roots = [tree.find(POLICY_ROOT), tree.find(MANUAL_ROOT)]
    readings = [
        (tunnel, _read_tunnel(tunnel, roots))
        for tunnel in TUNNELS
        if any(root is not None and tunnel.lower() in root.subkeys for root in roots)
    ]
    if not readings:
        raise InvalidInputError(f"no tunnel of DPC: nothing below {POLICY_ROOT} or {MANUAL_ROOT}")
    device = next((reading for tunnel, reading in readings if tunnel == "MachineTunnel"), None)
    if device is None or not device.profile.register_dns:
        return [reading for _, reading in readings]
    return [reading if reading is device else _check_registration(reading) for _, reading in readings]


def _check_registration(reading: Reading) -> Reading:
    if not reading.profile.register_dns:
        return reading
    place = reading.places["register_dns"]
    finding = Finding(
        Level.ERROR, "dns-twice", "register_dns", "both tunnels register their address in DNS",
        "DPC ignores it on the user tunnel", "switch it off on one of them", "", place.path, place.line,
    )  # fmt: skip
    return replace(reading, findings=(*reading.findings, finding))


def _read_tunnel(tunnel: DPCTunnel, roots: list[RegistryKey | None]) -> Reading:
    findings: list[Finding] = []
    top = DPCReader("DPCClient", roots, findings)
    keys = [root.subkeys.get(tunnel.lower()) if root is not None else None for root in roots]
    reader = DPCReader(next(key.path for key in keys if key is not None), keys, findings)
    managed = top.read_flag(tunnel)
    for other in TUNNELS:
        top.take(other)
    if not managed:
        reader.report(
            Level.ERROR, "dpc-switch", "", "", f"the value {tunnel} above the key is not 1",
            "DPC removes the tunnel instead of making it", f"set {tunnel} to 1",
        )  # fmt: skip
    name = reader.read_text("ProfileName", "name")
    if not name.strip():
        reader.report(
            Level.ERROR,
            "dpc-name",
            "name",
            "ProfileName",
            "there is no name",
            "DPC refuses the profile",
            "set ProfileName",
        )
    text = reader.read_text("OverrideXML")
    profile = _read_document(reader, tunnel, name, text) if text.strip() else _read_settings(reader, tunnel, name)
    unknown = reader.keep_unknown(_TUNNEL_SETTINGS) + top.keep_unknown(_DEVICE_SETTINGS, ABOVE, values_only=True)
    return Reading(FORMAT, replace(profile, unknown=(*profile.unknown, *unknown)), tuple(findings), reader.places)


def _read_document(reader: DPCReader, tunnel: DPCTunnel, name: str, text: str) -> Profile:
    """A whole ProfileXML; what DPC sets beside it wins."""
    try:
        inner = read_profile_xml(text, name=name, intune=False)
    except InvalidInputError as error:
        raise InvalidInputError(f"{reader.path}\\OverrideXML: {error}") from None
    if len(text) > LONGEST_XML:
        reader.report(
            Level.ERROR, "dpc-override-long", "", "OverrideXML", f"the document has {len(text)} characters",
            f"DPC takes {LONGEST_XML}", "shorten it, or set values instead",
        )  # fmt: skip
    for finding in inner.findings:
        # Lines are the document's own; the registry's path says which document.
        reader.findings.append(replace(finding, path=f"{reader.path}\\OverrideXML: {finding.path}"))
    profile = replace(inner.profile, name=name or inner.profile.name)
    if (profile.tunnel is TunnelKind.DEVICE) != (tunnel == "MachineTunnel"):
        reader.report(
            Level.ERROR, "dpc-tunnel", "tunnel", "OverrideXML", f"the document is not for a {tunnel}",
            "DPC would treat it as the other kind", "put it under the other tunnel, or mend DeviceTunnel",
        )  # fmt: skip
    if isinstance(profile.authentication, MachineCertificate):
        profile = replace(
            profile, authentication=MachineCertificate(read_oids(reader, "MachineEKU", "authentication.usages"))
        )
    skipped = sorted(name for name in (*LIST_KEYS, "URL") if reader.take(name) or reader.take_key(name))
    if skipped:
        reader.report(
            Level.ADVICE, "dpc-override", "", "OverrideXML", f"{', '.join(skipped)} stand beside OverrideXML",
            "DPC takes the document and ignores them; they are not kept", "remove them",
        )  # fmt: skip
    return _apply_settings(reader, tunnel, profile)


def _read_settings(reader: DPCReader, tunnel: DPCTunnel, name: str) -> Profile:
    device = tunnel == "MachineTunnel"
    force = not device and reader.read_flag("ForceTunnel", "routing") is True
    entra = None if device else read_compliance(reader)
    address = reader.read_text("URL", "servers").strip()
    if not is_server(address):
        reader.report(
            Level.ERROR, "dpc-url", "servers", "URL", f"{address[:80]!r} is no full name with a dot",
            "DPC refuses the profile", "write the gateway's name, such as vpn.example.com",
        )  # fmt: skip
    if device:
        always_on = True
    else:
        always_on = tunnel == "UserTunnel" and reader.read_flag("DisableAlwaysOn", "always_on") is not True
        reader.take("DisableAlwaysOn")
    profile = Profile(
        name=name,
        tunnel=TunnelKind.DEVICE if device else TunnelKind.USER,
        servers=(Server(address),) if address else (),
        authentication=MachineCertificate(read_oids(reader, "MachineEKU", "authentication.usages"))
        if device
        else read_method(reader, entra),
        entra=entra,
        routing=Routing.FORCE if force else Routing.SPLIT,
        class_based_route=force,
        routes=read_routes(reader, force=force),
        dns_suffixes=read_names(reader, "DNSSuffix", "dns_suffixes"),
        name_rules=read_name_rules(reader),
        trusted_networks=read_names(reader, "TrustedNetworks", "trusted_networks"),
        proxy=None if device else read_proxy(reader, force=force),
        traffic_filters=read_filters(reader),
        cryptography=_read_suite(reader),
        always_on=always_on,
        register_dns=reader.read_flag("RegisterDNS", "register_dns") or False,
        hide_disconnect_button=reader.read_flag("DisableUIDisconnectButton", "hide_disconnect_button") or False,
        hide_edit_button=reader.read_flag("DisableUIEditButton", "hide_edit_button") or False,
    )
    return _apply_settings(reader, tunnel, profile)


def _apply_settings(reader: DPCReader, tunnel: DPCTunnel, profile: Profile) -> Profile:
    """What DPC sets through RAS once the profile was made."""
    strategy = None if tunnel == "MachineTunnel" else reader.read_number("VPNStrategy", "protocols")
    protocols = STRATEGIES.get(7 if strategy is None else strategy)
    if protocols is None:
        reader.report(
            Level.ERROR, "dpc-strategy", "protocols", "VPNStrategy", f"{strategy} is not 5, 6, 7 or 14",
            "DPC hands it to Windows as it is", "choose one of IKEv2 (7), SSTP (5) or both (14, 6)",
        )  # fmt: skip
        protocols = (Protocol.IKEV2,)
    metric = reader.read_number("InterfaceMetric", "ipv4_metric") or None
    if metric is not None and metric > 9999:
        reader.report(
            Level.ERROR, "dpc-metric", "ipv4_metric", "InterfaceMetric", f"{metric} is more than 9999",
            "DPC takes 9999", "write 1 to 9999",
        )  # fmt: skip
        metric = 9999
    disabled = reader.read_flag("DisableRasCredentials", "use_ras_credentials")
    return replace(
        profile,
        protocols=protocols,
        protocol_retry_hours=None,
        ipv4_metric=metric,
        ipv6_metric=metric,
        network_outage_seconds=reader.read_number("NetworkOutageTime", "network_outage_seconds"),
        use_ras_credentials=None if disabled is None else not disabled,
    )


def _read_suite(reader: DPCReader) -> CryptographySuite | None:
    values = {field: reader.read_text(name, f"cryptography.{field}").strip() for field, name in SUITE_ELEMENTS.items()}
    if not reader.read_flag("CustomCryptography", "cryptography"):
        return None
    if missing := [SUITE_ELEMENTS[field] for field, value in values.items() if not value]:
        reader.report(
            Level.ERROR, "suite-incomplete", "cryptography", "CustomCryptography", f"{', '.join(missing)} is missing",
            "a suite counts only with all six; else the client offers its weak defaults", "set all six",
        )  # fmt: skip
    return CryptographySuite(**values)
