"""swanctl.conf for Linux clients: the profile as a strongSwan connection, written and read."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.cut import Cut
from evertunnel.profiles.findings import Finding, Place, Reading, advice
from evertunnel.profiles.model import (
    EAPTLS,
    PEAP,
    Authentication,
    CryptographySuite,
    MachineCertificate,
    MSCHAPv2,
    Profile,
    Protocol,
    Route,
    Routing,
    Server,
    ServerTrust,
)
from evertunnel.profiles.suites import build_esp_proposal, build_ike_proposal, read_proposals
from evertunnel.profiles.swanctl_conf import Section, decode_conf, encode_conf
from evertunnel.profiles.verify import verify_profile

FORMAT = "swanctl"
_EVERYTHING = "0.0.0.0/0,::/0"
_METHODS = {EAPTLS: "eap-tls", PEAP: "eap-peap", MSCHAPv2: "eap-mschapv2", MachineCertificate: "pubkey"}
# What is read, and what `build_swanctl` sets by itself; by the section in a connection.
_READ = {
    "": {"version", "remote_addrs", "vips", "dpd_delay", "keyingtries", "proposals"},
    "local": {"auth", "certs", "id", "eap_id", "aaa_id"},
    "remote": {"auth", "id", "cacerts"},
    "children": {"remote_ts", "esp_proposals", "start_action", "dpd_action", "close_action"},
}
_TITLE = re.compile(r'^# Evertunnel profile (".*"), version ([0-9]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What the client itself has: files below /etc/swanctl, who it is (empty: by its certificate), and where it
    reaches the gateway (empty: by its name)."""

    certificate: str = "evertunnel.pem"
    root: str = "evertunnel-root.pem"
    identity: str = ""
    address: str = ""


def limit_swanctl(profile: Profile) -> tuple[Profile, list[str]]:
    """What a connection can say of a profile, and a line for each thing it cannot."""
    cut = Cut(profile, FORMAT)
    cut.drop("protocols", (Protocol.IKEV2,), "protocols other than IKEv2")
    cut.drop("servers", tuple(Server(server.address) for server in profile.servers), "friendly names of servers")
    included = () if profile.routing is Routing.FORCE else tuple(r.network for r in profile.routes if not r.excluded)
    cut.drop("routes", tuple(Route(network) for network in included), "excluded routes and metrics of routes")
    cut.change("class_based_route", profile.routing is Routing.FORCE)
    method = profile.authentication
    if isinstance(method, EAPTLS | PEAP):
        names = method.trust.names[:1]
        trust = ServerTrust(names)
        kept: Authentication = EAPTLS(trust) if isinstance(method, EAPTLS) else PEAP(MSCHAPv2(), trust)
        loss = "hashes of roots, choice of certificates and PEAP's settings (files stand for them)"
        cut.drop("authentication", kept, loss)
        if isinstance(method, PEAP) and isinstance(method.inner, EAPTLS):
            cut.losses.append("EAP-TLS inside PEAP: set charon.plugins.eap-peap.phase2_method = tls in strongswan.conf")
    elif isinstance(method, MSCHAPv2 | MachineCertificate):
        cut.drop("authentication", type(method)(), "filters of certificates, and Windows' credentials")
    cut.drop("cryptography", _canonical(profile.cryptography), "a cryptography suite that makes no proposal")
    for field, value, loss in (
        ("protocol_retry_hours", None, "the retry time of a list of protocols"),
        ("l2tp_preshared_key", "", "the pre-shared key of L2TP"),
        ("entra", None, "DeviceCompliance"),
        ("selectors_as_routes", None, "PlumbIKEv2TSAsRoutes (strongSwan always does)"),
        ("dns_suffixes", (), "DNS suffixes"),
        ("name_rules", (), "name resolution rules"),
        ("trusted_networks", (), "trusted networks"),
        ("proxy", None, "the proxy"),
        ("app_triggers", (), "application triggers"),
        ("traffic_filters", (), "traffic filters"),
        ("always_on_active", None, "AlwaysOnActive"),
        ("lock_down", False, "LockDown"),
        ("register_dns", False, "registration in DNS"),
        ("network_outage_seconds", None, "the network outage time"),
        ("ipv4_metric", None, "IPv4InterfaceMetric"),
        ("ipv6_metric", None, "IPv6InterfaceMetric"),
        ("hide_disconnect_button", False, "hidden buttons"),
        ("hide_edit_button", False, "hidden buttons"),
        ("remember_credentials", False, "remembered credentials"),
        ("bypass_for_local", None, "ByPassForLocal"),
        ("use_ras_credentials", None, "UseRasCredentials"),
        ("data_encryption", None, "DataEncryption"),
        ("private_network", None, "the category of the network"),
        ("disable_ikev2_fragmentation", None, "DisableIKEv2Fragmentation"),
        ("enterprise_id", "", "EdpModeId"),
    ):
        cut.drop(field, value, loss)
    return cut.profile, list(dict.fromkeys(cut.losses))


def _canonical(suite: CryptographySuite | None) -> CryptographySuite | None:
    try:
        return read_proposals(build_ike_proposal(suite), build_esp_proposal(suite)) if suite else None
    except InvalidInputError:
        return None


def build_swanctl(profile: Profile, files: ClientFiles | None = None) -> str:
    """The file. Raises InvalidInputError for a profile that is no IKEv2 or has no method strongSwan speaks."""
    verify_profile(profile)
    files = files or ClientFiles()
    method = _METHODS.get(type(profile.authentication))
    if method is None:
        raise InvalidInputError("authentication: strongSwan speaks EAP-TLS, PEAP, EAP-MSCHAPv2 or certificates here")
    if not {Protocol.IKEV2, Protocol.AUTOMATIC} & set(profile.protocols):
        raise InvalidInputError("protocols: strongSwan speaks IKEv2 only")
    limited, _ = limit_swanctl(profile)
    if limited.routing is Routing.SPLIT and not limited.routes:
        raise InvalidInputError("routes: a split tunnel without routes carries nothing on Linux; name the networks")
    connection = Section()
    connection.set("version", "2")
    connection.set("remote_addrs", files.address or ",".join(server.address for server in limited.servers))
    connection.set("vips", "0.0.0.0,::")
    connection.set("dpd_delay", "30s")
    connection.set("keyingtries", "0" if limited.always_on else "1")
    if limited.cryptography:
        connection.set("proposals", build_ike_proposal(limited.cryptography))
    local, remote, child = Section(), Section(), Section()
    local.set("auth", method)
    if method in ("pubkey", "eap-tls"):
        local.set("certs", files.certificate)
    local.set("id" if method == "pubkey" else "eap_id", files.identity)
    if limited.trust and limited.trust.names:
        # The policy server ends the EAP method, under a name of its own.
        local.set("aaa_id", limited.trust.names[0])
    remote.set("auth", "pubkey")
    remote.set("id", limited.servers[0].address)
    remote.set("cacerts", files.root)
    force = limited.routing is Routing.FORCE
    child.set("remote_ts", _EVERYTHING if force else ",".join(str(route.network) for route in limited.routes))
    if limited.cryptography:
        child.set("esp_proposals", build_esp_proposal(limited.cryptography))
    if limited.always_on:
        child.set("start_action", "start")
        child.set("dpd_action", "restart")
        child.set("close_action", "start")
    connection.sections = {"local": local, "remote": remote, "children": Section(sections={"net": child})}
    name = f"evertunnel-{limited.tunnel.value}"
    root = Section(sections={"connections": Section(sections={name: connection})})
    title = f"# Evertunnel profile {json.dumps(profile.name)}, version {profile.version}\n"
    return title + encode_conf(root)


def read_swanctl(text: str) -> list[Reading]:
    """A profile for every connection. Raises InvalidInputError with the line."""
    root = decode_conf(text)
    connections = root.sections.get("connections")
    if connections is None or not connections.sections:
        raise InvalidInputError("there is no section connections")
    title = _read_title(text)
    beside = tuple(
        _tell("unknown", "", name, section, f"the section {name[:60]!r} is not known", "a profile has connections only")
        for name, section in root.sections.items()
        if name != "connections"
    )
    readings = [_read_connection(name, section, title or name) for name, section in connections.sections.items()]
    return [replace(readings[0], findings=readings[0].findings + beside), *readings[1:]]


def _tell(rule: str, field: str, path: str, section: Section, what: str, why: str) -> Finding:
    """Something that goes no further: the file keeps it, the profile does not."""
    finding = advice(rule, field, what, why, "it is not kept; check that it is not needed")
    return replace(finding, path=path, line=section.line)


def _find_unread(section: Section, path: str, kind: str = "") -> Iterator[Finding]:
    for name in section.settings:
        if name not in _READ.get(kind, ()):
            yield _tell("unknown", "", f"{path}.{name}", section, f"the setting {name[:60]!r} is not known",
                        "the profile says nothing about it")  # fmt: skip
    for name, inner in section.sections.items():
        yield from _find_unread(inner, f"{path}.{name}", kind or name.rstrip("-0123456789"))


def _read_title(text: str) -> str:
    """The name in our own comment; empty when somebody else wrote the file, or into the comment."""
    found = _TITLE.search(text)
    if found is None:
        return ""
    try:
        name = json.loads(found[1])
    except json.JSONDecodeError:
        return ""
    return name if isinstance(name, str) else ""


def _read_connection(key: str, section: Section, name: str) -> Reading:
    path = f"connections.{key}"
    local = next((part for part_name, part in section.sections.items() if part_name.startswith("local")), Section())
    children = section.sections.get("children", Section()).sections
    findings: list[Finding] = []
    child = next(iter(children.values()), Section())
    if len(children) > 1:
        findings.append(
            advice("children", "routes", "there are several children", "a profile has one", "the first one was read")
        )
    method = _read_method(local, path)
    selectors = [part.strip() for part in child.get("remote_ts").split(",") if part.strip()]
    force = "0.0.0.0/0" in selectors
    routes = []
    for selector in [] if force else selectors:
        try:
            routes.append(Route(ip_network(selector, strict=False)))
        except ValueError:
            findings.append(
                advice(
                    "selector",
                    "routes",
                    f"{selector[:60]!r} is no network",
                    "a profile has networks only",
                    "it was left out",
                )
            )
    proposals, esp = section.get("proposals"), child.get("esp_proposals")
    if "," in proposals or "," in esp:
        findings.append(
            _tell("proposal-others", "cryptography", path, section, "there are several proposals", "a profile has one")
        )
    suite = read_proposals(proposals.split(",")[0], esp.split(",")[0]) if proposals and esp else None
    if (proposals or esp) and suite is None:
        findings.append(
            advice("proposal", "cryptography", f"{proposals} with {esp} is no suite of Windows",
                   "it cannot be carried over", "use a suite that Windows has")
        )  # fmt: skip
    servers = tuple(Server(part.strip()) for part in section.get("remote_addrs").split(",") if part.strip())
    remote = next((part for part_name, part in section.sections.items() if part_name.startswith("remote")), Section())
    identity = remote.get("id")
    if identity and identity not in [server.address for server in servers]:
        findings.append(
            _tell("other-identity", "servers", f"{path}.remote.id", remote, f"the gateway says it is {identity[:80]!r}",
                  "Windows demands that a gateway is called as it is reached")
        )  # fmt: skip
    findings += _find_unread(section, path)
    profile = Profile(
        name=name,
        tunnel=TunnelKind.DEVICE if key.endswith("device") else TunnelKind.USER,
        servers=servers,
        authentication=method,
        routing=Routing.FORCE if force else Routing.SPLIT,
        class_based_route=force,
        routes=tuple(routes),
        cryptography=suite,
        always_on=child.get("start_action") == "start",
    )
    return Reading(
        FORMAT, profile, tuple(findings), {field: Place(path, section.line) for field in ("servers", "routes")}
    )


def _read_method(local: Section, path: str) -> Authentication:
    names = (local.get("aaa_id"),) if local.get("aaa_id") else ()
    match local.get("auth") or "pubkey":
        case "pubkey":
            return MachineCertificate()
        case "eap-tls":
            return EAPTLS(ServerTrust(names))
        case "eap-peap":
            return PEAP(MSCHAPv2(), ServerTrust(names))
        case "eap-mschapv2":
            return MSCHAPv2()
        case other:
            raise InvalidInputError(f"{path}.local.auth: {other[:40]!r} is not read")
