"""A profile: what one tunnel is to a client, whatever the client's format.

Words are Microsoft's where Microsoft has one (VPNv2 CSP, EAP schemas); each field is said in its own meaning, so that
`class_based_route=True` is Windows' default and ProfileXML's DisableClassBasedDefaultRoute is its opposite.
Hashes are SHA-1 of the DER certificate (SHA-256 for TEAP), lower-case hexadecimal without separators.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from evertunnel.model import TunnelKind

Network = IPv4Network | IPv6Network

# Certificates by Entra, or by our access authority: the client picks them by this usage.
CONDITIONAL_ACCESS_OID = "1.3.6.1.4.1.311.87"
CLIENT_AUTHENTICATION_OID = "1.3.6.1.5.5.7.3.2"


class Protocol(StrEnum):
    """How the tunnel is carried. AUTOMATIC stands alone and lets Windows try."""

    IKEV2 = "IKEv2"
    SSTP = "SSTP"
    L2TP = "L2TP"
    PPTP = "PPTP"
    AUTOMATIC = "Automatic"


class Routing(StrEnum):
    """SPLIT sends what the routes name through the tunnel, FORCE everything."""

    SPLIT = "SplitTunnel"
    FORCE = "ForceTunnel"


class DataEncryption(StrEnum):
    """What Windows demands of the tunnel's encryption."""

    NONE = "None"
    OPTIONAL = "Optional"
    REQUIRE = "Require"
    MAX = "Max"


@dataclass(frozen=True, slots=True)
class Server:
    """An address clients connect to; `label` is its friendly name, empty for the address itself."""

    address: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """An extended key usage that a certificate must have, with the name the client's filter gives it."""

    name: str
    oid: str


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """What the client demands of the policy server's certificate (not of the gateway's)."""

    names: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    prompt: bool = False
    """Whether the person may accept another certificate."""
    validate: bool = True
    enforce_names: bool = True


@dataclass(frozen=True, slots=True)
class CertificateSelection:
    """Which of several certificates the client takes. Empty tuples do not narrow."""

    issuers: tuple[str, ...] = ()
    usages: tuple[Usage, ...] = ()
    any_purpose_usages: tuple[Usage, ...] = ()
    all_purpose: bool = False
    smart_card: bool = False
    without_asking: bool = True
    """SimpleCertSelection: pick by itself when several fit."""


@dataclass(frozen=True, slots=True)
class EAPTLS:
    """EAP-TLS (EAP type 13)."""

    trust: ServerTrust = ServerTrust()
    selection: CertificateSelection = CertificateSelection()
    different_user_name: bool = False
    kind: Literal["eap-tls"] = "eap-tls"


@dataclass(frozen=True, slots=True)
class MSCHAPv2:
    """EAP-MSCHAPv2 (EAP type 26)."""

    windows_credentials: bool = False
    kind: Literal["eap-mschapv2"] = "eap-mschapv2"


@dataclass(frozen=True, slots=True)
class PEAP:
    """PEAP (EAP type 25) around EAP-TLS or EAP-MSCHAPv2."""

    inner: EAPTLS | MSCHAPv2 = EAPTLS()
    trust: ServerTrust = ServerTrust()
    fast_reconnect: bool = True
    crypto_binding: bool = True
    inner_optional: bool = False
    quarantine: bool = False
    anonymous_identity: str | None = None
    """Identity privacy: what the outer identity says; None without privacy."""
    kind: Literal["peap"] = "peap"


@dataclass(frozen=True, slots=True)
class OtherEAP:
    """An EAP method that is carried along as it came: TTLS (21), TEAP (55) and others. `xml` is its EapHostConfig."""

    type: int
    xml: str
    kind: Literal["other-eap"] = "other-eap"


@dataclass(frozen=True, slots=True)
class MachineCertificate:
    """The computer's certificate in IKEv2 itself. The filters lie outside ProfileXML (Set-VpnConnection, DPC)."""

    usages: tuple[str, ...] = ()
    issuer: str = ""
    kind: Literal["machine-certificate"] = "machine-certificate"


@dataclass(frozen=True, slots=True)
class PlainMSCHAPv2:
    """MS-CHAPv2 without EAP: never with IKEv2."""

    kind: Literal["mschapv2"] = "mschapv2"


Authentication = EAPTLS | PEAP | MSCHAPv2 | OtherEAP | MachineCertificate | PlainMSCHAPv2


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """The other certificate that Windows uses for Kerberos when Entra issued the one for the tunnel."""

    usages: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntraCompliance:
    """DeviceCompliance: Windows asks Entra for the certificate at every connect."""

    single_sign_on: SingleSignOn | None = None


@dataclass(frozen=True, slots=True)
class CryptographySuite:
    """The six transforms, in ProfileXML's spelling (`Set-VpnConnectionIPsecConfiguration` spells some otherwise)."""

    authentication_transform: str
    cipher_transform: str
    pfs_group: str
    dh_group: str
    integrity_check: str
    encryption: str


@dataclass(frozen=True, slots=True)
class Route:
    """A network through the tunnel, or with `excluded` outside of it. `metric` 0 leaves it to Windows."""

    network: Network
    excluded: bool = False
    metric: int = 0


@dataclass(frozen=True, slots=True)
class NameRule:
    """How names below `domain` are resolved (`.corp.example` a suffix, `.` all). No servers: the ordinary DNS."""

    domain: str
    servers: tuple[str, ...] = ()
    proxy: str = ""
    auto_trigger: bool = False
    persistent: bool = False


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy of a force tunnel."""

    auto_config_url: str = ""
    server: str = ""
    exceptions: tuple[str, ...] = ()
    bypass_local: bool = False


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class TrafficFilter:
    """What may pass. Conditions in one filter must all hold; address ranges are `a`, `a-b` or CIDR."""

    name: str = ""
    app: str = ""
    claims: str = ""
    protocol: int | None = None
    local_ports: tuple[PortRange, ...] = ()
    remote_ports: tuple[PortRange, ...] = ()
    local_addresses: tuple[str, ...] = ()
    remote_addresses: tuple[str, ...] = ()
    routing: Routing | None = None
    inbound: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something a file held that we do not understand, kept for the same format: where it stood and what it was."""

    format: str
    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One tunnel. None means: not said, the client's default."""

    name: str
    tunnel: TunnelKind
    servers: tuple[Server, ...]
    authentication: Authentication
    protocols: tuple[Protocol, ...] = (Protocol.IKEV2,)
    """In order of preference."""
    protocol_retry_hours: int | None = None
    l2tp_preshared_key: str = ""
    entra: EntraCompliance | None = None
    routing: Routing = Routing.SPLIT
    class_based_route: bool = False
    selectors_as_routes: bool | None = None
    routes: tuple[Route, ...] = ()
    dns_suffixes: tuple[str, ...] = ()
    name_rules: tuple[NameRule, ...] = ()
    trusted_networks: tuple[str, ...] = ()
    proxy: Proxy | None = None
    app_triggers: tuple[str, ...] = ()
    traffic_filters: tuple[TrafficFilter, ...] = ()
    cryptography: CryptographySuite | None = None
    always_on: bool = True
    always_on_active: bool | None = None
    lock_down: bool = False
    register_dns: bool = False
    network_outage_seconds: int | None = None
    ipv4_metric: int | None = None
    ipv6_metric: int | None = None
    hide_disconnect_button: bool = False
    hide_edit_button: bool = False
    remember_credentials: bool = False
    bypass_for_local: bool | None = None
    use_ras_credentials: bool | None = None
    data_encryption: DataEncryption | None = None
    private_network: bool | None = None
    disable_ikev2_fragmentation: bool | None = None
    enterprise_id: str = ""
    version: int = 0
    """Counts the changes of a stored profile; 0 for one that is not stored."""
    unknown: tuple[Unknown, ...] = ()

    @property
    def selection(self) -> CertificateSelection | None:
        """How the client picks the user's certificate, where it uses one."""
        method = self.authentication
        if isinstance(method, PEAP):
            method = method.inner
        return method.selection if isinstance(method, EAPTLS) else None

    @property
    def trust(self) -> ServerTrust | None:
        """What the client demands of the policy server."""
        return self.authentication.trust if isinstance(self.authentication, EAPTLS | PEAP) else None
