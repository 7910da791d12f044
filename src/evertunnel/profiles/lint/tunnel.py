"""Rules about the tunnel as a whole: device tunnel, protocol, always on, buttons (Microsoft: VPNv2 CSP)."""

from collections.abc import Iterator
from ipaddress import ip_address

from evertunnel.model import TunnelKind
from evertunnel.profiles.findings import Finding, advice, error
from evertunnel.profiles.model import DataEncryption, MachineCertificate, Profile, Protocol, Routing

_22H2 = "Windows before 11 22H2 (22621)"
_24H2 = "in ProfileXML: Windows 11 24H2"


def lint_device_tunnel(profile: Profile) -> Iterator[Finding]:
    """What a device tunnel cannot have."""
    if profile.tunnel is not TunnelKind.DEVICE:
        return
    why = "Windows' device tunnel is IKEv2 with the computer's certificate and split routing, and nothing else"
    if profile.protocols != (Protocol.IKEV2,):
        yield error("device-protocol", "protocols", "a device tunnel has another protocol than IKEv2", why, "set IKEv2")
    if not isinstance(profile.authentication, MachineCertificate):
        yield error(
            "device-authentication", "authentication", "a device tunnel signs in with EAP",
            "nobody is there to sign in before logon", "use the machine certificate",
        )  # fmt: skip
    if profile.routing is Routing.FORCE:
        yield error("device-force", "routing", "a device tunnel forces all traffic", why, "use split routing")
    for field, there in (
        ("proxy", profile.proxy),
        ("app_triggers", profile.app_triggers),
        ("entra", profile.entra),
        ("remember_credentials", profile.remember_credentials),
        ("enterprise_id", profile.enterprise_id),
    ):
        if there:
            yield error(
                f"device-{field.replace('_', '-')}", field, f"a device tunnel has {field}", why, f"remove {field}"
            )
    yield advice(
        "device-edition", "tunnel", "the profile is a device tunnel", "other editions do not connect it",
        "use Enterprise or Education, joined to a domain", "Windows Pro and Home, Windows 10 before 1709",
    )  # fmt: skip
    if not profile.always_on:
        yield advice(
            "device-always-on", "always_on", "a device tunnel does not say that it is always on",
            "DeviceTunnel implies it, and every sample says both", "set always_on",
        )  # fmt: skip
    if profile.name_rules:
        yield advice(
            "device-name-rules", "name_rules", "a device tunnel has name resolution rules",
            "they stay in force while the user tunnel is up, with the device tunnel's servers",
            "put them into the user tunnel, unless there is none",
        )  # fmt: skip
    if profile.traffic_filters and not any(item.inbound for item in profile.traffic_filters):
        yield advice(
            "device-filters", "traffic_filters", "a device tunnel has traffic filters, none of them inbound",
            "as soon as one filter exists, management from inside no longer reaches the computer",
            "add an inbound filter for the management servers",
        )  # fmt: skip
    for index, route in enumerate(profile.routes):
        if not route.excluded and route.network.prefixlen < route.network.max_prefixlen - 8:
            yield advice(
                "device-wide-route", f"routes[{index}]", f"the device tunnel reaches all of {route.network}",
                "before anyone signed in the computer needs domain controllers and management only",
                "name single hosts (/32, /128)",
            )  # fmt: skip


def lint_user_tunnel(profile: Profile) -> Iterator[Finding]:
    """What a user tunnel should have."""
    if profile.tunnel is not TunnelKind.USER or profile.lock_down:
        return
    if isinstance(profile.authentication, MachineCertificate):
        yield error(
            "user-machine-certificate", "authentication", "a user tunnel signs in with the computer's certificate",
            "whoever uses the computer gets the tunnel, and no policy can tell people apart",
            "use EAP-TLS, or make it a device tunnel",
        )  # fmt: skip
    if isinstance(profile.authentication, MachineCertificate) and Protocol.IKEV2 not in profile.protocols:
        yield error(
            "machine-certificate-protocol", "protocols", "the computer's certificate is used without IKEv2",
            "no other protocol of Windows signs in with it", "set IKEv2",
        )  # fmt: skip
    if profile.remember_credentials and profile.selection is not None:
        yield advice(
            "remembered-certificate", "remember_credentials",
            "credentials are remembered although certificates are used",
            "there is nothing to remember, and a stale entry makes Windows ask", "set remember_credentials to false",
        )  # fmt: skip


def lint_always_on(profile: Profile) -> Iterator[Finding]:
    """When the tunnel comes up by itself."""
    if profile.always_on and not profile.trusted_networks and not profile.lock_down:
        yield advice(
            "no-trusted-network", "trusted_networks", "an always-on tunnel has no trusted network",
            "it then connects inside the office as well", "give the DNS suffix of the office network",
        )  # fmt: skip
    for index, app in enumerate(profile.app_triggers):
        if app.upper() == "SYSTEM":
            yield advice(
                "trigger-system", f"app_triggers[{index}]", "SYSTEM is an application trigger",
                "it means drivers in traffic filters, and nothing here", "name an application",
            )  # fmt: skip


def lint_protocols(profile: Profile) -> Iterator[Finding]:
    """Which protocols are fit for use."""
    if Protocol.AUTOMATIC in profile.protocols:
        yield advice(
            "automatic", "protocols", "the protocol is left to Windows",
            "it tries SSTP, IKEv2, PPTP and L2TP in an order that changed between builds, each with its own time-out",
            "set IKEv2, or a list of protocols",
        )  # fmt: skip
    if Protocol.PPTP in profile.protocols:
        yield error(
            "pptp", "protocols", "PPTP is among the protocols", "its encryption is broken since 2012", "remove PPTP"
        )
    if len(profile.protocols) > 1 or profile.protocol_retry_hours is not None:
        yield advice(
            "protocol-list", "protocols", "a list of protocols is given", "older Windows does not know ProtocolList",
            "keep it for Windows 11 only", "Windows 10 (before 20207)",
        )  # fmt: skip
    if profile.protocols == (Protocol.SSTP,):
        yield advice(
            "sstp-build", "protocols", "the protocol is SSTP", "NativeProtocolType SSTP came with Windows 11",
            "set Automatic for older builds, or set the protocol by script", "Windows 10",
        )  # fmt: skip
    for index, server in enumerate(profile.servers):
        if "/" in server.address:
            yield error(
                "server-form", f"servers[{index}]", f"the server {server.address[:80]!r} is an address of a site",
                "Windows asks DNS for all of it, and finds nothing", "write the name alone, such as vpn.example.com",
            )  # fmt: skip
        if _is_address(server.address):
            yield advice(
                "server-address", f"servers[{index}]", f"the server is the address {server.address}",
                "Windows looks for it among the DNS names of the certificate (error 13801 if it is not there)",
                "use a name, or put the address into the certificate as a DNS name too",
            )  # fmt: skip
    if profile.l2tp_preshared_key:
        yield error(
            "preshared-key", "l2tp_preshared_key", "the profile holds a pre-shared key",
            "every computer and everybody who reads the profile then has the key of all", "use certificates",
        )  # fmt: skip


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def lint_settings(profile: Profile) -> Iterator[Finding]:
    """Single settings and what they need."""
    if profile.lock_down:
        yield advice(
            "lock-down", "lock_down", "LockDown is set", "newer Windows no longer lists it, and nothing else can be "
            "configured beside it", "use always on and a force tunnel",
        )  # fmt: skip
        # Microsoft's sample names no routing at all, which we read as split.
        split = profile.routing is Routing.SPLIT and any(not route.excluded for route in profile.routes)
        if split or profile.protocols != (Protocol.IKEV2,):
            yield error(
                "lock-down-shape", "lock_down", "LockDown with another protocol than IKEv2, or with routes",
                "it is IKEv2 and takes all traffic; Windows refuses anything else",
                "set IKEv2 and force routing, or remove LockDown",
            )  # fmt: skip
    if profile.network_outage_seconds == 0:
        yield advice(
            "outage-zero", "network_outage_seconds", "the network outage time is 0",
            "by the documentation that is no limit, for others it is mobility off: nobody agrees",
            "give seconds, such as 1800",
        )  # fmt: skip
    for field in ("network_outage_seconds", "ipv4_metric", "ipv6_metric", "use_ras_credentials", "data_encryption",
                  "private_network", "disable_ikev2_fragmentation"):  # fmt: skip
        if getattr(profile, field) is not None:
            yield advice(
                "needs-24h2", field, f"{field} is set", "earlier builds ignore the element, or refuse the profile",
                "keep it out of profiles for earlier builds, where a script can set it", _24H2,
            )  # fmt: skip
    if profile.selectors_as_routes is not None:
        yield advice(
            "needs-2004", "selectors_as_routes", "PlumbIKEv2TSAsRoutes is set", "earlier builds do not know it",
            "name the routes", "Windows 10 before 2004",
        )  # fmt: skip
    for field in ("hide_disconnect_button", "hide_edit_button"):
        if getattr(profile, field):
            yield advice(
                "needs-22h2", field, f"{field} is set", "the button is shown all the same", "expect it", _22H2
            )  # fmt: skip
    if profile.data_encryption in (DataEncryption.NONE, DataEncryption.OPTIONAL):
        yield error(
            "no-encryption", "data_encryption", f"encryption is {profile.data_encryption}",
            "traffic may then pass in the clear", "set Require or Max",
        )  # fmt: skip
    if profile.disable_ikev2_fragmentation:
        yield advice(
            "fragmentation", "disable_ikev2_fragmentation", "IKEv2 fragmentation is off",
            "large certificates then need IP fragments, which many networks drop (error 809)", "leave it on",
        )  # fmt: skip
    if profile.enterprise_id:
        yield advice(
            "information-protection", "enterprise_id", "the profile names an enterprise id",
            "Windows Information Protection is retired", "remove it",
        )  # fmt: skip


RULES = (lint_device_tunnel, lint_user_tunnel, lint_always_on, lint_protocols, lint_settings)
