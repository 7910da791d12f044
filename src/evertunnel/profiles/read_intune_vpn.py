"""Graph's windows10VpnConfiguration, read."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.eap_xml import read_eap
from evertunnel.profiles.findings import Finding, Level, Place, Reading, advice
from evertunnel.profiles.hashes import read_hash
from evertunnel.profiles.intune_vpn import EAP_PATH, FORMAT, KNOWN, PROTOCOLS, ROUTINGS, SUITE_WORDS, read_range
from evertunnel.profiles.model import (
    Authentication,
    CryptographySuite,
    EntraCompliance,
    MachineCertificate,
    NameRule,
    PlainMSCHAPv2,
    PortRange,
    Profile,
    Proxy,
    Route,
    Routing,
    Server,
    SingleSignOn,
    TrafficFilter,
    Unknown,
)
from evertunnel.profiles.xml_reading import XMLReader
from evertunnel.profiles.xml_tree import parse_xml

# Properties that repeat others, or that a range is told by.
_SAID_ELSEWHERE = frozenset({"appType", "lowerAddress", "upperAddress", "cidrAddress", "name"})


class _Object:
    """A JSON object whose properties are read with their path."""

    def __init__(self, value: Any, path: str = "$", within: "_Object | None" = None) -> None:
        if not isinstance(value, Mapping):
            raise InvalidInputError(f"{path}: must be an object")
        self.value, self.path = value, path
        self.asked: set[str] = {"@odata.type"}
        # Every object that was read, whoever asked for it.
        self.all: list[_Object] = within.all if within else []
        self.all.append(self)

    def get(self, name: str) -> Any:
        self.asked.add(name)
        return self.value.get(name)

    def text(self, name: str) -> str:
        found = self.get(name)
        if found is not None and not isinstance(found, str):
            raise InvalidInputError(f"{self.path}.{name}: must be a text")
        return found or ""

    def flag(self, name: str) -> bool:
        found = self.get(name)
        if found is not None and not isinstance(found, bool):
            raise InvalidInputError(f"{self.path}.{name}: must be true or false")
        return bool(found)

    def number(self, name: str) -> int | None:
        found = self.get(name)
        if found is not None and (not isinstance(found, int) or isinstance(found, bool)):
            raise InvalidInputError(f"{self.path}.{name}: must be a whole number")
        return found

    def items(self, name: str) -> list[Any]:
        found = self.get(name)
        if found is not None and not isinstance(found, list):
            raise InvalidInputError(f"{self.path}.{name}: must be a list")
        return found or []

    def texts(self, name: str) -> tuple[str, ...]:
        for index, item in enumerate(self.items(name)):
            if not isinstance(item, str):
                raise InvalidInputError(f"{self.path}.{name}[{index}]: must be a text")
        return tuple(self.items(name))

    def objects(self, name: str) -> list["_Object"]:
        return [_Object(item, f"{self.path}.{name}[{index}]", self) for index, item in enumerate(self.items(name))]


def read_vpn(document: Mapping[str, Any]) -> Reading:
    """The profile in a configuration. Raises InvalidInputError with the JSON path."""
    body = _Object(document)
    reader = XMLReader(FORMAT)
    words = {text: protocol for protocol, text in PROTOCOLS.items()}
    connection = body.text("connectionType")
    if connection not in words:
        raise InvalidInputError(f"$.connectionType: {connection[:40]!r} is no built-in protocol; plug-ins are not read")
    unknown = [
        Unknown(FORMAT, f"$.{key}", json.dumps(value))
        for key, value in document.items()
        # Graph answers with every property it has; null, false and empty ones say nothing.
        if key not in KNOWN and value not in (None, False, "", [], {})
    ]
    findings: list[Finding] = [
        advice("unknown", "", f"the property {item.path[2:]!r} is not known", "it is kept, and not understood",
               "check that it is not needed")
        for item in unknown
    ]  # fmt: skip
    routes = [_read_route(item, findings) for item in body.objects("routes")]
    profile = Profile(
        name=body.text("connectionName") or body.text("displayName"),
        tunnel=TunnelKind.DEVICE if body.flag("enableDeviceTunnel") else TunnelKind.USER,
        servers=tuple(_read_server(item) for item in _default_first(body.objects("servers"))),
        authentication=_read_authentication(body, reader),
        protocols=(words[connection],),
        entra=_read_entra(body),
        routing=Routing.SPLIT if body.flag("enableSplitTunneling") else Routing.FORCE,
        routes=tuple(routes),
        dns_suffixes=body.texts("dnsSuffixes"),
        name_rules=tuple(_read_name_rule(item) for item in body.objects("dnsRules")),
        trusted_networks=body.texts("trustedNetworkDomains"),
        proxy=_read_proxy(body),
        app_triggers=tuple(item.text("identifier") for item in body.objects("associatedApps")),
        traffic_filters=tuple(_read_filter(item) for item in body.objects("trafficRules")),
        cryptography=_read_suite(body),
        always_on=body.flag("enableAlwaysOn"),
        register_dns=body.flag("enableDnsRegistration"),
        remember_credentials=body.flag("rememberUserCredentials"),
        enterprise_id=body.text("windowsInformationProtectionDomain"),
    )
    profile = replace(profile, unknown=(*unknown, *reader.unknown))
    findings += _check_target(body.text("profileTarget"), profile)
    findings += [
        advice("unknown", "", f"{item.path}.{key} is not known", "it is not kept", "check that it is not needed")
        for item in body.all[1:]
        for key, value in item.value.items()
        if key not in item.asked | _SAID_ELSEWHERE and value not in (None, False, "", [], {})
    ]
    places = {"servers": Place("$.servers"), "routes": Place("$.routes"), "authentication": Place("$.eapXml"),
              "cryptography": Place("$.cryptographySuite"), "name_rules": Place("$.dnsRules"),
              "traffic_filters": Place("$.trafficRules"), "proxy": Place("$.proxyServer")}  # fmt: skip
    return Reading(FORMAT, profile, (*reader.findings, *findings), places)


def _check_target(target: str, profile: Profile) -> Iterator[Finding]:
    """Whose phonebook it goes to; what is not the tunnel's own is not kept."""
    device = profile.tunnel is TunnelKind.DEVICE
    if target in ("", profile.tunnel.value):
        return
    level, what, why = Level.ADVICE, f"the target is {target[:40]!r}", "it is written again for the tunnel's own"
    if device and target == "user":
        level, what = Level.ERROR, "a device tunnel is for the user"
        why = "Windows makes a device tunnel in the scope of the device only"
    elif not device and target == "device":
        what = "a user tunnel is for the device"
        why = "it is then there for everybody who uses the computer; that is not kept"
    yield Finding(
        level, "oma-scope", "tunnel", what, why, f"write {profile.tunnel.value}, or assign it by hand",
        path="$.profileTarget",
    )  # fmt: skip


def _default_first(servers: list[_Object]) -> list[_Object]:
    return sorted(servers, key=lambda server: not server.flag("isDefaultServer"))


def _read_server(item: _Object) -> Server:
    address, label = item.text("address"), item.text("description")
    return Server(address, "" if label == address else label)


def _read_authentication(body: _Object, reader: XMLReader) -> Authentication:
    match body.text("authenticationMethod"):
        case "certificate":
            return MachineCertificate()
        case "usernameAndPassword":
            return PlainMSCHAPv2()
        case "customEapXml":
            try:
                text = base64.b64decode(body.text("eapXml"), validate=True).decode("utf-8-sig")
            except (binascii.Error, UnicodeDecodeError, ValueError) as error:
                raise InvalidInputError(f"$.eapXml: is no base64 of UTF-8 text: {error}") from None
            method = read_eap(reader, parse_xml(text), f"{EAP_PATH}EapHostConfig")
            if method is None:
                raise InvalidInputError("$.eapXml: holds no EAP method")
            return method
        case other:
            raise InvalidInputError(f"$.authenticationMethod: {other[:40]!r} is not read")


def _read_entra(body: _Object) -> EntraCompliance | None:
    if not body.flag("enableConditionalAccess"):
        return None
    if not body.flag("enableSingleSignOnWithAlternateCertificate"):
        return EntraCompliance()
    usage = body.get("singleSignOnEku")
    usages = (_Object(usage, "$.singleSignOnEku", body).text("objectIdentifier"),) if usage else ()
    text = body.text("singleSignOnIssuerHash")
    digits = read_hash(text) if text else None
    if text and digits is None:
        raise InvalidInputError(f"$.singleSignOnIssuerHash: {text[:60]!r} is no certificate hash")
    return EntraCompliance(SingleSignOn(usages, (digits,) if digits else ()))


def _read_route(item: _Object, findings: list[Finding]) -> Route:
    address = item.text("destinationPrefix")
    try:
        network = ip_network(f"{address}/{item.number('prefixSize')}", strict=False)
    except ValueError as error:
        raise InvalidInputError(f"{item.path}: {error}") from None
    if ip_address(address) != network.network_address:
        findings.append(
            Finding(
                Level.ERROR, "route-host-bits", "routes", f"{address} is no network of that size",
                "Windows refuses or changes it", f"write {network.network_address}", path=item.path,
            )
        )  # fmt: skip
    return Route(network)


def _read_name_rule(item: _Object) -> NameRule:
    servers = item.texts("servers")
    for server in servers:
        try:
            ip_address(server)
        except ValueError as error:
            raise InvalidInputError(f"{item.path}.servers: {error}") from None
    proxy = item.text("proxyServerUri")
    return NameRule(item.text("name"), servers, proxy, item.flag("autoTrigger"), item.flag("persistent"))


def _read_proxy(body: _Object) -> Proxy | None:
    value = body.get("proxyServer")
    if value is None:
        return None
    item = _Object(value, "$.proxyServer", body)
    port = item.number("port")
    server = item.text("address") + (f":{port}" if port is not None else "")
    return Proxy(
        item.text("automaticConfigurationScriptUrl"), server, (), item.flag("bypassProxyServerForLocalAddress")
    )


def _read_filter(item: _Object) -> TrafficFilter:
    routings = {text: routing for routing, text in ROUTINGS.items()}
    return TrafficFilter(
        name=item.text("name"),
        app=item.text("appId"),
        claims=item.text("claims"),
        protocol=item.number("protocols"),
        local_ports=tuple(_read_ports(ports) for ports in item.objects("localPortRanges")),
        remote_ports=tuple(_read_ports(ports) for ports in item.objects("remotePortRanges")),
        local_addresses=tuple(read_range(part.value, part.path) for part in item.objects("localAddressRanges")),
        remote_addresses=tuple(read_range(part.value, part.path) for part in item.objects("remoteAddressRanges")),
        routing=routings.get(item.text("routingPolicyType")),
        inbound=item.text("vpnTrafficDirection") == "inbound",
    )


def _read_ports(item: _Object) -> PortRange:
    first, last = item.number("lowerNumber"), item.number("upperNumber")
    if first is None or last is None:
        raise InvalidInputError(f"{item.path}: needs lowerNumber and upperNumber")
    return PortRange(first, last)


def _read_suite(body: _Object) -> CryptographySuite | None:
    value = body.get("cryptographySuite")
    if value is None:
        return None
    item = _Object(value, "$.cryptographySuite", body)
    found: dict[str, str] = {}
    for name, (field, words) in SUITE_WORDS.items():
        back = {text: word for word, text in words.items()}
        text = item.text(name)
        # What Windows has no word for is kept, and named by the linter.
        found[field] = back.get(text, text)
    return CryptographySuite(**found)
