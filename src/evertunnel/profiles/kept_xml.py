"""Elements that an importer kept, written back where they stood, and never as something that the profile itself says.

A kept element comes from a file: one that the reader knows at its place would be a second setting, and which of the two
a client takes is not documented.
"""

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.eap_schema import TLS_1, TLS_2, TLS_3
from evertunnel.profiles.model import Unknown
from evertunnel.profiles.xml_tree import Node, parse_xml

# What the readers know below an element, by the element's own name; in lower case, as they compare.
_KNOWN = {
    parent: frozenset(children.lower().split())
    for parent, children in {
        "vpnprofile": "ProfileName AlwaysOn AlwaysOnActive RememberCredentials DeviceTunnel LockDown EdpModeId "
        "DnsSuffix TrustedNetworkDetection DisableAdvancedOptionsEditButton DisableDisconnectButton ByPassForLocal "
        "Proxy DeviceCompliance AppTrigger NativeProfile Route TrafficFilter DomainNameInformation RegisterDNS "
        "NetworkOutageTime IPv4InterfaceMetric IPv6InterfaceMetric UseRasCredentials DataEncryption PrivateNetwork "
        "DisableIKEv2Fragmentation",
        "nativeprofile": "Servers RoutingPolicyType NativeProtocolType ProtocolList L2tpPsk Authentication "
        "CryptographySuite DisableClassBasedDefaultRoute PlumbIKEv2TSAsRoutes",
        "protocollist": "NativeProtocol RetryTimeInHours",
        "nativeprotocol": "Type",
        "authentication": "UserMethod MachineMethod Eap",
        "eap": "Configuration Type EapType",
        "configuration": "EapHostConfig",
        "eaphostconfig": "EapMethod Config",
        "eapmethod": "Type VendorId VendorType AuthorId",
        "config": "Eap",
        "eaptype": "CredentialsSource ServerValidation DifferentUsername PerformServerValidation AcceptServerName "
        "TLSExtensions FastReconnect InnerEapOptional Eap EnableQuarantineChecks RequireCryptoBinding PeapExtensions "
        "UseWinLogonCredentials",
        "credentialssource": "SmartCard CertificateStore",
        "certificatestore": "SimpleCertSelection",
        "servervalidation": "DisableUserPromptForServerValidation ServerNames TrustedRootCA",
        "tlsextensions": "FilteringInfo",
        "filteringinfo": "AllPurposeEnabled CAHashList EKUMapping ClientAuthEKUList AnyPurposeEKUList",
        "peapextensions": "PerformServerValidation AcceptServerName IdentityPrivacy",
        "identityprivacy": "EnableIdentityPrivacy AnonymousUserName",
        "devicecompliance": "Enabled Sso",
        "sso": "Enabled Eku IssuerHash",
        "proxy": "Manual AutoConfigUrl",
        "manual": "Server",
        "apptrigger": "App",
        "app": "Id",
        "domainnameinformation": "DomainName DnsServers WebProxyServers AutoTrigger Persistent",
        "trafficfilter": "App Claims Protocol LocalPortRanges RemotePortRanges LocalAddressRanges "
        "RemoteAddressRanges RoutingPolicyType Direction",
        "route": "Address PrefixSize ExclusionRoute Metric",
        "cryptographysuite": "AuthenticationTransformConstants CipherTransformConstants PfsGroup DHGroup "
        "IntegrityCheckMethod EncryptionMethod",
    }.items()
}

_EXTENSIONS = {("EapType", "TLSExtensions"): TLS_2, ("TLSExtensions", "FilteringInfo"): TLS_3}


def is_known(node: Node, child: Node) -> bool:
    """Whether the readers know the child at its place."""
    return child.name.lower() in _KNOWN.get(node.name.lower(), frozenset())


def put_back(root: Node, unknown: Unknown) -> None:
    """Append the element below the one it stood in; where that is no more, at the end of the document.

    Extensions of EAP-TLS are made again: they are written only when there is something in them.
    Raises InvalidInputError for what is no XML, and for a setting of the profile itself.
    """
    node = root
    for step in unknown.path.split("/")[1:]:
        found = _find(node, step) or _remake(node, step)
        if found is None:
            node = root
            break
        node = found
    child = parse_xml(unknown.content)
    if is_known(node, child):
        raise InvalidInputError(
            f"unknown: {node.name}/{child.name[:60]} is a setting that the profile itself says; give it there"
        )
    node.children.append(child)


def _remake(node: Node, step: str) -> Node | None:
    namespace = _EXTENSIONS.get((node.name, step))
    return node.add(step, namespace=namespace) if namespace and node.namespace in (TLS_1, TLS_2) else None


def _find(node: Node, step: str) -> Node | None:
    """The child of that name, or with `[n]` the n-th of them."""
    name, _, rest = step.partition("[")
    index = rest.removesuffix("]")
    wanted = int(index) - 1 if index.isascii() and index.isdecimal() and len(index) < 6 else 0
    return next((child for at, child in enumerate(node.find_all(name)) if at == wanted), None)
