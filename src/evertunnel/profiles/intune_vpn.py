"""Intune's own VPN form (Graph beta windows10VpnConfiguration), where it can express a profile.

What it cannot is a list: `limit_vpn`. From documentation only; enumerations by meaning.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.cut import Cut
from evertunnel.profiles.eap_xml import build_eap
from evertunnel.profiles.kept_xml import put_back
from evertunnel.profiles.model import (
    MachineCertificate,
    NameRule,
    PlainMSCHAPv2,
    Profile,
    Protocol,
    Proxy,
    Route,
    Routing,
    TrafficFilter,
)
from evertunnel.profiles.verify import verify_profile
from evertunnel.profiles.xml_tree import render_xml

FORMAT = "intune-vpn"
# Before the path of what an importer kept from the EAP XML.
EAP_PATH = "$.eapXml: "
VPN_TYPE = "#microsoft.graph.windows10VpnConfiguration"
PROTOCOLS = {
    Protocol.IKEV2: "ikEv2",
    Protocol.AUTOMATIC: "automatic",
    Protocol.L2TP: "l2tp",
    Protocol.PPTP: "pptp",
}
SUITE_WORDS = {
    "encryptionMethod": (
        "encryption",
        {"DES": "des", "DES3": "tripleDes", "AES128": "aes128", "AES192": "aes192", "AES256": "aes256",
         "AES_GCM_128": "aes128Gcm", "AES_GCM_256": "aes256Gcm"},
    ),
    "cipherTransformConstants": (
        "cipher_transform",
        {"DES": "des", "DES3": "tripleDes", "AES128": "aes128", "AES192": "aes192", "AES256": "aes256",
         "GCMAES128": "aes128Gcm", "GCMAES192": "aes192Gcm", "GCMAES256": "aes256Gcm"},
    ),
    "authenticationTransformConstants": (
        "authentication_transform",
        {"MD596": "md5_96", "SHA196": "sha1_96", "SHA256128": "sha_256_128", "GCMAES128": "aes128Gcm",
         "GCMAES192": "aes192Gcm", "GCMAES256": "aes256Gcm"},
    ),
    "integrityCheckMethod": (
        "integrity_check", {"MD5": "md5", "SHA196": "sha1_96", "SHA256": "sha2_256", "SHA384": "sha2_384"},
    ),
    "dhGroup": (
        "dh_group",
        {"Group1": "group1", "Group2": "group2", "Group14": "group14", "ECP256": "ecp256", "ECP384": "ecp384",
         "Group24": "group24"},
    ),
    "pfsGroup": (
        "pfs_group",
        {"PFS1": "pfs1", "PFS2": "pfs2", "PFS2048": "pfs2048", "ECP256": "ecp256", "ECP384": "ecp384",
         "PFSMM": "pfsMM", "PFS24": "pfs24"},
    ),
}  # fmt: skip
# What is read, and what Graph itself writes about a configuration.
_KNOWN = """
    @odata.type @odata.context @odata.id id version createdDateTime lastModifiedDateTime roleScopeTagIds
    supportsScopeTags displayName description connectionName profileTarget servers connectionType enableSplitTunneling
    enableAlwaysOn enableDeviceTunnel enableDnsRegistration dnsSuffixes rememberUserCredentials associatedApps
    trafficRules routes dnsRules trustedNetworkDomains authenticationMethod eapXml enableConditionalAccess
    enableSingleSignOnWithAlternateCertificate singleSignOnEku singleSignOnIssuerHash
    windowsInformationProtectionDomain proxyServer cryptographySuite
"""
KNOWN = frozenset(_KNOWN.split())
ROUTINGS = {None: "none", Routing.SPLIT: "splitTunnel", Routing.FORCE: "forceTunnel"}


def limit_vpn(profile: Profile) -> tuple[Profile, list[str]]:
    """What the form can say of a profile, and a line for each thing it cannot."""
    cut = Cut(profile, FORMAT)
    known = tuple(protocol for protocol in profile.protocols if protocol in PROTOCOLS)
    cut.drop("protocols", known[:1] or (Protocol.AUTOMATIC,), "SSTP, and lists of protocols")
    cut.drop("routes", tuple(Route(route.network) for route in profile.routes if not route.excluded),
             "excluded routes and metrics of routes")  # fmt: skip
    if isinstance(profile.authentication, MachineCertificate):
        cut.drop("authentication", MachineCertificate(), "the filter of the machine certificate")
    other = profile.entra.single_sign_on if profile.entra else None
    if profile.entra and other and (len(other.usages) > 1 or len(other.issuers) > 1):
        first = replace(other, usages=other.usages[:1], issuers=other.issuers[:1])
        cut.drop(
            "entra", replace(profile.entra, single_sign_on=first), "all but the first usage and issuer for Kerberos"
        )
    if profile.proxy:
        cut.drop("proxy", replace(profile.proxy, exceptions=()), "exceptions of the proxy")
    suite = profile.cryptography
    if suite and any(getattr(suite, field) not in words for field, words in SUITE_WORDS.values()):
        cut.drop("cryptography", None, "a cryptography suite with None or unknown values")
    for field, value, loss in (
        ("protocol_retry_hours", None, "the retry time of a list of protocols"),
        ("l2tp_preshared_key", "", "the pre-shared key of L2TP"),
        ("class_based_route", False, "the class-based route (what Intune writes for it is not documented)"),
        ("selectors_as_routes", None, "PlumbIKEv2TSAsRoutes"),
        ("always_on_active", None, "AlwaysOnActive"),
        ("lock_down", False, "LockDown"),
        ("network_outage_seconds", None, "NetworkOutageTime"),
        ("ipv4_metric", None, "IPv4InterfaceMetric"),
        ("ipv6_metric", None, "IPv6InterfaceMetric"),
        ("hide_disconnect_button", False, "DisableDisconnectButton"),
        ("hide_edit_button", False, "DisableAdvancedOptionsEditButton"),
        ("bypass_for_local", None, "ByPassForLocal"),
        ("use_ras_credentials", None, "UseRasCredentials"),
        ("data_encryption", None, "DataEncryption"),
        ("private_network", None, "PrivateNetwork"),
        ("disable_ikev2_fragmentation", None, "DisableIKEv2Fragmentation"),
    ):
        cut.drop(field, value, loss)
    return cut.profile, cut.losses


def build_vpn(profile: Profile) -> dict[str, Any]:
    """The body for `POST /deviceManagement/deviceConfigurations` (beta). Raises InvalidInputError."""
    verify_profile(profile)
    limited, _ = limit_vpn(profile)
    body: dict[str, Any] = {
        "@odata.type": VPN_TYPE,
        "displayName": limited.name,
        "description": f"Evertunnel profile, version {profile.version}",
        "connectionName": limited.name,
        "profileTarget": limited.tunnel.value,
        "servers": [
            {"description": server.label or server.address, "address": server.address, "isDefaultServer": index == 0}
            for index, server in enumerate(limited.servers)
        ],
        "connectionType": PROTOCOLS[limited.protocols[0]],
        "enableSplitTunneling": limited.routing is Routing.SPLIT,
        "enableAlwaysOn": limited.always_on,
        "enableDeviceTunnel": limited.tunnel is TunnelKind.DEVICE,
        "enableDnsRegistration": limited.register_dns,
        "dnsSuffixes": list(limited.dns_suffixes),
        "rememberUserCredentials": limited.remember_credentials,
        "associatedApps": [{"appType": _app_type(app), "identifier": app} for app in limited.app_triggers],
        "trafficRules": [_build_rule(item) for item in limited.traffic_filters],
        "routes": [_build_route(route) for route in limited.routes],
        "dnsRules": [_build_name_rule(rule) for rule in limited.name_rules],
        "trustedNetworkDomains": list(limited.trusted_networks),
        **_build_authentication(limited),
    }
    if limited.enterprise_id:
        body["windowsInformationProtectionDomain"] = limited.enterprise_id
    if limited.proxy:
        body["proxyServer"] = _build_proxy(limited.proxy)
    if limited.cryptography:
        body["cryptographySuite"] = {
            name: words[getattr(limited.cryptography, field)] for name, (field, words) in SUITE_WORDS.items()
        }
    for unknown in limited.unknown:
        if not unknown.path.startswith(EAP_PATH):
            put_property(body, unknown.path, unknown.content)
    return body


def put_property(body: dict[str, Any], path: str, content: str) -> None:
    """A property that an importer kept. Raises InvalidInputError for what is no JSON, or is the profile's to say."""
    name = path.removeprefix("$.")
    if name in KNOWN or not name:
        raise InvalidInputError(f"unknown: {name[:60]!r} is a property that the profile itself says; give it there")
    try:
        body[name] = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidInputError(f"unknown: {name[:60]!r}: its content is no JSON") from None


def _build_authentication(profile: Profile) -> dict[str, Any]:
    method = profile.authentication
    body: dict[str, Any] = {}
    if isinstance(method, MachineCertificate):
        body["authenticationMethod"] = "certificate"
    elif isinstance(method, PlainMSCHAPv2):
        body["authenticationMethod"] = "usernameAndPassword"
    else:
        body["authenticationMethod"] = "customEapXml"
        eap = build_eap(method)
        for unknown in profile.unknown:
            if unknown.path.startswith(EAP_PATH):
                put_back(eap, replace(unknown, path=unknown.path.removeprefix(EAP_PATH)))
        body["eapXml"] = base64.b64encode(render_xml(eap, indent="").encode()).decode()
    body["enableConditionalAccess"] = profile.entra is not None
    other = profile.entra.single_sign_on if profile.entra else None
    body["enableSingleSignOnWithAlternateCertificate"] = other is not None
    if other and other.usages:
        body["singleSignOnEku"] = {"name": other.usages[0], "objectIdentifier": other.usages[0]}
    if other and other.issuers:
        body["singleSignOnIssuerHash"] = other.issuers[0]
    return body


def _build_proxy(proxy: Proxy) -> dict[str, Any]:
    host, _, port = proxy.server.rpartition(":")
    if not host or not port.isdecimal():
        host, port = proxy.server, ""
    return {
        "@odata.type": "#microsoft.graph.windows10VpnProxyServer",
        "automaticConfigurationScriptUrl": proxy.auto_config_url or None,
        "address": host or None,
        "port": int(port) if port else None,
        "bypassProxyServerForLocalAddress": proxy.bypass_local,
    }


def _app_type(app: str) -> str:
    return "desktop" if "\\" in app or app.upper() == "SYSTEM" else "universal"


def _build_route(route: Route) -> dict[str, Any]:
    return {"destinationPrefix": str(route.network.network_address), "prefixSize": route.network.prefixlen}


def _build_name_rule(rule: NameRule) -> dict[str, Any]:
    return {
        "name": rule.domain,
        "servers": list(rule.servers),
        "proxyServerUri": rule.proxy or None,
        "autoTrigger": rule.auto_trigger,
        "persistent": rule.persistent,
    }


def _build_rule(item: TrafficFilter) -> dict[str, Any]:
    return {
        "name": item.name,
        "protocols": item.protocol,
        "localPortRanges": [{"lowerNumber": ports.first, "upperNumber": ports.last} for ports in item.local_ports],
        "remotePortRanges": [{"lowerNumber": ports.first, "upperNumber": ports.last} for ports in item.remote_ports],
        "localAddressRanges": [_build_range(text) for text in item.local_addresses],
        "remoteAddressRanges": [_build_range(text) for text in item.remote_addresses],
        "appId": item.app or None,
        "appType": _app_type(item.app) if item.app else "none",
        "routingPolicyType": ROUTINGS[item.routing],
        "claims": item.claims or None,
        "vpnTrafficDirection": "inbound" if item.inbound else "outbound",
    }


def _build_range(text: str) -> dict[str, Any]:
    first, dash, last = text.partition("-")
    version = 4 if "." in first else 6
    if dash or "/" not in text:
        kind = f"#microsoft.graph.iPv{version}Range"
        return {"@odata.type": kind, "lowerAddress": first, "upperAddress": last or first}
    return {"@odata.type": f"#microsoft.graph.iPv{version}CidrRange", "cidrAddress": text}


def read_range(value: Mapping[str, Any], path: str) -> str:
    """An address, `first-last` or CIDR. Raises InvalidInputError with the JSON path."""
    try:
        if "cidrAddress" in value:
            network: IPv4Network | IPv6Network = ip_network(str(value["cidrAddress"]), strict=False)
            return str(network)
        first, last = ip_address(str(value.get("lowerAddress"))), ip_address(str(value.get("upperAddress")))
    except ValueError as error:
        raise InvalidInputError(f"{path}: {error}") from None
    return str(first) if first == last else f"{first}-{last}"
