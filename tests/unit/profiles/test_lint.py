"""Every rule: a profile that is as it should be has no errors, and one spoiled thing is named."""

import ast
import html
import time
from collections import Counter
from dataclasses import replace
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.profiles.element_order import Target
from evertunnel.profiles.findings import Finding, Level
from evertunnel.profiles.lint.linter import lint_profile, lint_reading, lint_together
from evertunnel.profiles.model import (
    EAPTLS,
    PEAP,
    CryptographySuite,
    DataEncryption,
    EntraCompliance,
    MachineCertificate,
    MSCHAPv2,
    NameRule,
    OtherEAP,
    PlainMSCHAPv2,
    PortRange,
    Profile,
    Protocol,
    Proxy,
    Route,
    Routing,
    Server,
    ServerTrust,
    SingleSignOn,
    TrafficFilter,
)
from evertunnel.profiles.profile_xml import build_profile_xml
from evertunnel.profiles.read_profile_xml import read_profile_xml
from tests.unit.profiles.samples import (
    DEVICE,
    ENTRA,
    ENTRA_CERTIFICATES,
    ISSUER,
    OWN_CERTIFICATES,
    ROOT,
    TRUST,
    USER,
)  # fmt: skip

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src" / "evertunnel" / "profiles"


def routes(*texts: str) -> tuple[Route, ...]:
    return tuple(Route(ip_network(text.lstrip("!")), excluded=text.startswith("!")) for text in texts)


def tls(trust: ServerTrust) -> EAPTLS:
    return EAPTLS(trust, OWN_CERTIFICATES)


def suite(**values: str) -> CryptographySuite:
    assert USER.cryptography is not None
    return replace(USER.cryptography, **values)


SMART_CARD = replace(ENTRA_CERTIFICATES, smart_card=True)
FORCE = replace(USER, routing=Routing.FORCE, routes=(), class_based_route=True)
SPOILED: list[tuple[str, Profile]] = [
    ("device-protocol", replace(DEVICE, protocols=(Protocol.SSTP,))),
    ("device-authentication", replace(DEVICE, authentication=USER.authentication)),
    ("device-force", replace(DEVICE, routing=Routing.FORCE)),
    ("device-proxy", replace(DEVICE, proxy=Proxy(server="proxy.example.com:80"))),
    ("device-app-triggers", replace(DEVICE, app_triggers=("C:\\x.exe",))),
    ("device-entra", replace(DEVICE, entra=EntraCompliance())),
    ("device-remember-credentials", replace(DEVICE, remember_credentials=True)),
    ("device-enterprise-id", replace(DEVICE, enterprise_id="corp.example")),
    ("device-edition", DEVICE),
    ("no-trusted-network", replace(DEVICE, trusted_networks=())),
    ("machine-certificate-protocol", replace(USER, authentication=MachineCertificate(), protocols=(Protocol.SSTP,))),
    ("trigger-system", replace(USER, app_triggers=("System",))),
    ("sstp-build", replace(USER, protocols=(Protocol.SSTP,))),
    ("server-address", replace(USER, servers=(Server("203.0.113.7"),))),
    ("needs-2004", replace(USER, selectors_as_routes=True)),
    ("eap-carried", replace(USER, authentication=OtherEAP(21, "<EapHostConfig></EapHostConfig>"))),
    ("teap-build", replace(USER, authentication=OtherEAP(55, "<EapHostConfig></EapHostConfig>"))),
    ("server-name-pattern", replace(USER, authentication=tls(replace(TRUST, names=("(nps1|nps2)\\.example",))))),
    ("issuer-hash", replace(USER, authentication=EAPTLS(TRUST, replace(OWN_CERTIFICATES, issuers=("00" * 32,))))),
    ("single-sign-on-usage", replace(ENTRA, entra=EntraCompliance(SingleSignOn(("1.3.6.1.4.1.311.87",), (ISSUER,))))),
    ("suite-incomplete", replace(USER, cryptography=suite(pfs_group=""))),
    ("rule-proxy", replace(USER, name_rules=(NameRule(".corp.example", proxy="proxy.corp.example:80"),))),
    ("device-always-on", replace(DEVICE, always_on=False)),
    ("device-name-rules", replace(DEVICE, name_rules=USER.name_rules)),
    ("device-filters", replace(DEVICE, traffic_filters=(TrafficFilter(protocol=6),))),
    ("device-wide-route", replace(DEVICE, routes=USER.routes)),
    ("user-machine-certificate", replace(USER, authentication=MachineCertificate())),
    ("no-trusted-network", replace(USER, trusted_networks=())),
    ("remembered-certificate", replace(USER, remember_credentials=True)),
    ("automatic", replace(USER, protocols=(Protocol.AUTOMATIC,))),
    ("pptp", replace(USER, protocols=(Protocol.IKEV2, Protocol.PPTP))),
    ("protocol-list", replace(USER, protocols=(Protocol.IKEV2, Protocol.SSTP))),
    ("preshared-key", replace(USER, l2tp_preshared_key="secret")),
    ("lock-down", replace(USER, lock_down=True)),
    ("lock-down-shape", replace(USER, lock_down=True)),
    ("outage-zero", replace(USER, network_outage_seconds=0)),
    ("needs-24h2", replace(USER, ipv4_metric=3)),
    ("needs-22h2", replace(USER, hide_edit_button=True)),
    ("no-encryption", replace(USER, data_encryption=DataEncryption.OPTIONAL)),
    ("fragmentation", replace(USER, disable_ikev2_fragmentation=True)),
    ("information-protection", replace(USER, enterprise_id="corp.example")),
    ("mschapv2-ikev2", replace(USER, authentication=PlainMSCHAPv2())),
    ("mschapv2", replace(USER, authentication=PlainMSCHAPv2())),
    ("eap-mschapv2", replace(USER, authentication=MSCHAPv2())),
    ("peap-mschapv2", replace(USER, authentication=PEAP(MSCHAPv2(), TRUST))),
    ("no-validation", replace(USER, authentication=tls(replace(TRUST, validate=False)))),
    ("no-root", replace(USER, authentication=tls(replace(TRUST, roots=())))),
    ("no-server-name", replace(USER, authentication=tls(replace(TRUST, names=())))),
    ("names-not-enforced", replace(USER, authentication=tls(replace(TRUST, enforce_names=False)))),
    ("prompt", replace(USER, authentication=tls(replace(TRUST, prompt=True)))),
    ("hash", replace(USER, authentication=tls(replace(TRUST, roots=("00" * 32,))))),
    ("inner-trust", replace(USER, authentication=PEAP(EAPTLS(), TRUST))),
    ("crypto-binding", replace(ENTRA, authentication=replace(ENTRA.authentication, crypto_binding=False))),
    ("inner-optional", replace(ENTRA, authentication=replace(ENTRA.authentication, inner_optional=True))),
    ("any-certificate", replace(USER, authentication=EAPTLS(TRUST))),
    ("asks", replace(USER, authentication=EAPTLS(TRUST, replace(OWN_CERTIFICATES, without_asking=False)))),
    ("access-without-issuer", replace(USER, authentication=EAPTLS(TRUST, ENTRA_CERTIFICATES))),
    ("compliance-without-certificate", replace(ENTRA, authentication=PEAP(MSCHAPv2(), TRUST))),
    ("compliance-without-usage", replace(ENTRA, authentication=EAPTLS(TRUST))),
    ("access-mixed", replace(ENTRA, authentication=EAPTLS(TRUST, OWN_CERTIFICATES))),
    ("compliance-smart-card", replace(ENTRA, authentication=EAPTLS(TRUST, SMART_CARD))),
    ("no-single-sign-on", replace(ENTRA, entra=EntraCompliance())),
    ("single-sign-on-issuer", replace(ENTRA, entra=EntraCompliance(SingleSignOn()))),
    ("default-proposals", replace(USER, cryptography=None)),
    ("suite-unused", replace(USER, protocols=(Protocol.SSTP,))),
    ("suite-value", replace(USER, cryptography=suite(encryption="AES_GCM_192"))),
    ("weak-suite", replace(USER, cryptography=suite(dh_group="Group2"))),
    ("gcm-pair", replace(USER, cryptography=suite(cipher_transform="AES256"))),
    ("no-dh-group", replace(USER, cryptography=suite(dh_group="None"))),
    ("no-pfs", replace(USER, cryptography=suite(pfs_group="None"))),
    ("gcm-ike", USER),
    ("force-routes", replace(FORCE, routes=USER.routes)),
    ("force-class-route", replace(FORCE, class_based_route=False)),
    ("no-routes", replace(USER, routes=())),
    ("class-route", replace(USER, class_based_route=True)),
    ("ipv6-default", replace(USER, routes=routes("::/0"))),
    ("default-route", replace(USER, routes=routes("0.0.0.0/0"))),
    ("route-both-ways", replace(USER, routes=routes("10.0.0.0/8", "!10.0.0.0/8"))),
    ("route-twice", replace(USER, routes=routes("10.0.0.0/8", "10.0.0.0/8"))),
    ("routes-overlap", replace(USER, routes=routes("10.0.0.0/8", "10.1.0.0/16"))),
    ("idle-exclusion", replace(USER, routes=routes("10.0.0.0/8", "!192.168.0.0/16"))),
    ("proxy-split", replace(USER, proxy=Proxy(server="proxy.example.com:80"))),
    ("proxy-both", replace(FORCE, proxy=Proxy("http://proxy.example.com/x.pac", "proxy.example.com:80"))),
    ("ports-protocol", replace(USER, traffic_filters=(TrafficFilter(remote_ports=(PortRange(80, 80),)),))),
    ("both-addresses", replace(USER, traffic_filters=(
        TrafficFilter(local_addresses=("10.0.0.1",), remote_addresses=("10.0.0.2",)),))),
    ("filter-routing", replace(USER, traffic_filters=(TrafficFilter(routing=Routing.FORCE),))),
    ("claims", replace(USER, traffic_filters=(TrafficFilter(claims="D:"),))),
    ("inbound", replace(USER, traffic_filters=(TrafficFilter(inbound=True),))),
    ("filters-ipv6", replace(USER, routes=routes("2001:db8::/32"), traffic_filters=(TrafficFilter(protocol=6),))),
    ("suffix", replace(USER, dns_suffixes=(".corp.example",))),
    ("rule-domain", replace(USER, name_rules=(NameRule(""),))),
    ("rule-star", replace(USER, name_rules=(NameRule("*.corp.example"),))),
    ("rule-twice", replace(USER, name_rules=USER.name_rules * 2)),
    ("rules-trusted", replace(USER, trusted_networks=())),
    ("own-name", replace(USER, name_rules=(NameRule(".example.com", ("10.20.0.53",)),))),
    ("value", replace(USER, name="a/b")),
    ("server-form", replace(USER, servers=(Server("https://vpn.example.com"),))),
    ("server-name-list", replace(USER, authentication=tls(replace(TRUST, names=("a.example,b.example",))))),
    ("server-name-list", replace(USER, authentication=tls(replace(TRUST, names=("a.example b.example",))))),
    ("all-purpose", replace(ENTRA, authentication=EAPTLS(TRUST, replace(ENTRA_CERTIFICATES, all_purpose=True)))),
    ("single-sign-on-hash", replace(ENTRA, entra=EntraCompliance(SingleSignOn((), ("ab" * 32,))))),
    ("proxy-form", replace(FORCE, proxy=Proxy(server="http://proxy.example.com:8080"))),
    ("proxy-form", replace(FORCE, proxy=Proxy(server="proxy.example.com"))),
    ("rule-exact", replace(USER, name_rules=(NameRule("corp.example", ("10.20.0.53",)),))),
    ("filter-empty", replace(USER, traffic_filters=(TrafficFilter(),))),
]  # fmt: skip


def list_rules(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


@pytest.mark.parametrize("profile", [USER, DEVICE, ENTRA], ids=["user", "device", "entra"])
def test_a_profile_as_it_should_be_has_no_errors(profile: Profile) -> None:
    assert [finding for finding in lint_profile(profile) if finding.level is Level.ERROR] == []


@pytest.mark.parametrize(("rule", "profile"), SPOILED, ids=[rule for rule, _ in SPOILED])
def test_a_spoiled_profile_is_named_with_reason_and_mend(rule: str, profile: Profile) -> None:
    found = [finding for finding in lint_profile(profile) if finding.rule == rule]
    assert found, list_rules(lint_profile(profile))
    for finding in found:
        assert finding.what
        assert finding.why
        assert finding.mend


PAIRS = [
    ("same-name", USER, replace(DEVICE, name="corp vpn")),
    ("two-always-on", USER, replace(USER, name="other")),
    ("registered-twice", USER, replace(DEVICE, register_dns=True)),
    ("rules-twice", USER, replace(DEVICE, name_rules=USER.name_rules)),
    ("no-metrics", USER, DEVICE),
]


@pytest.mark.parametrize(("rule", "first", "second"), PAIRS, ids=[rule for rule, _, _ in PAIRS])
def test_what_only_shows_together_is_named(rule: str, first: Profile, second: Profile) -> None:
    assert rule in list_rules(lint_together([first, second]))
    assert rule not in list_rules(lint_profile(first)) | list_rules(lint_profile(second))


MISTAKES = sorted((HERE / "mistakes").glob("*.xml"))


def test_there_are_twelve_classic_mistakes() -> None:
    assert len(MISTAKES) >= 12


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_a_classic_mistake_is_named_with_its_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "HERE" in line)
    findings = lint_reading(read_profile_xml(text, name=path.stem))
    errors = {finding.rule: finding for finding in findings if finding.level is Level.ERROR}
    finding = errors.get(path.stem) or next(item for item in findings if item.rule == path.stem)
    assert finding.line in (line, line + 1, line - 1), (finding, line)
    others = set(errors) - {path.stem}
    assert not others, others


def spoil_authentication(new: str, profile: Profile = USER) -> str:
    """The document with other children of Authentication; EAP stands for those it had."""
    before, _, rest = build_profile_xml(profile, Target.INTUNE).partition("<Authentication>")
    inside, _, after = rest.partition("</Authentication>")
    eap = inside[inside.find("<Eap>") :] if "<Eap>" in inside else ""
    return f"{before}<Authentication>{new.replace('EAP_XML', eap)}</Authentication>{after}"


def spoil_text(old: str, new: str, profile: Profile = USER) -> str:
    text = build_profile_xml(profile, Target.INTUNE)
    assert old in text
    return text.replace(old, new, 1)


LONG_LIVED = replace(USER, authentication=EAPTLS(TRUST, replace(OWN_CERTIFICATES, usages=())))
_TWICE = "vpn.example.com;vpn.example.com"
_PORTS = "<TrafficFilter><Protocol>6</Protocol><RemotePortRanges>80, 443</RemotePortRanges></TrafficFilter>"
_LIST = "<NativeProtocolType>ProtocolList</NativeProtocolType><ProtocolList><NativeProtocol><Type>{}</Type>"
_LIST += "</NativeProtocol>{}</ProtocolList>"
_IKEV2 = "<NativeProtocolType>IKEv2</NativeProtocolType>"
FILES = [
    ("two-profiles", Level.ERROR, spoil_text("<NativeProfile>", "<PluginProfile></PluginProfile><NativeProfile>")),
    ("number", Level.ERROR, spoil_text("<RegisterDNS>", "<AlwaysOnActive>2</AlwaysOnActive><RegisterDNS>")),
    ("protocol-item", Level.ERROR, spoil_text(_IKEV2, _LIST.format("Ikev3", ""))),
    ("number", Level.ERROR, spoil_text(_IKEV2, _LIST.format("Ikev2", "<RetryTimeInHours>one</RetryTimeInHours>"))),
    ("stray-text", Level.ADVICE, spoil_text("<RegisterDNS>", "hello<RegisterDNS>")),
    ("unknown", Level.ADVICE, spoil_text("<RegisterDNS>", "<AppTrigger><App><Id>a</Id><Type>b</Type></App></AppTrigger>"
                                         "<RegisterDNS>")),
    # Microsoft's own samples have a blank after each comma of a filter.
    ("list-blanks", Level.ADVICE, spoil_text("<RegisterDNS>", _PORTS + "<RegisterDNS>")),
    ("eap-namespace", Level.ERROR, spoil_text("EapTlsConnectionPropertiesV2", "EapTlsConnectionPropertiesV1")),
    ("eap-order", Level.ERROR, spoil_text("<DifferentUsername>false</DifferentUsername>", "").replace(
        "<CredentialsSource>", "<DifferentUsername>false</DifferentUsername><CredentialsSource>")),
    ("order", Level.ADVICE, spoil_text("<PrefixSize>16</PrefixSize>", "").replace(
        "<Address>", "<PrefixSize>16</PrefixSize><Address>")),
    ("order", Level.ADVICE, spoil_text("<Eku>1.3.6.1.5.5.7.3.2</Eku>", "", ENTRA).replace(
        "</Sso>", "<Eku>1.3.6.1.5.5.7.3.2</Eku></Sso>")),
    ("suite-incomplete", Level.ERROR, spoil_text("<PfsGroup>ECP384</PfsGroup>", "")),
    ("authentication", Level.ERROR, spoil_authentication("", DEVICE)),
    ("authentication", Level.ERROR, spoil_authentication("EAP_XML")),
    ("methods-mixed", Level.ERROR, spoil_text("<MachineMethod>EAP", "<MachineMethod>Certificate")),
    ("value", Level.ERROR, spoil_text("<UserMethod>EAP", "<UserMethod>Certificate")),
    ("value", Level.ERROR, spoil_authentication("<MachineMethod>PresharedKey</MachineMethod>", DEVICE)),
    ("servers-not-doubled", Level.ADVICE, spoil_text(_TWICE, "a.example,b.example;b.example")),
    ("server-form", Level.ERROR, spoil_text("vpn.example.com;vpn.example.com", "https://vpn.example.com/")),
    ("network", Level.ERROR, spoil_text("<PrefixSize>16", "<PrefixSize>255.255.0.0")),
    ("route-host-bits", Level.ERROR, spoil_text("<Address>10.20.0.0</Address>\n    <PrefixSize>16<",
                                                "<Address>2001:db8::1</Address><PrefixSize>32<")),
    ("protocol-list-idle", Level.ERROR, spoil_text(
        _IKEV2, _IKEV2 + "<ProtocolList><NativeProtocol><Type>Sstp</Type></NativeProtocol></ProtocolList>")),
    ("list-off", Level.ERROR, spoil_text('<CAHashList Enabled="true">', "<CAHashList>", LONG_LIVED)),
    ("list-off", Level.ERROR, spoil_text('<ClientAuthEKUList Enabled="true">', "<ClientAuthEKUList>")),
    ("list-off", Level.ADVICE, spoil_text('<ClientAuthEKUList Enabled="true">', '<ClientAuthEKUList Enabled="false">')),
    ("usage-mapping", Level.ERROR, spoil_text("<EKUMap>", "", ENTRA).replace("</EKUMap>", "").replace(
        "<EKUName>AAD Conditional Access</EKUName>", "", 1).replace("<EKUOID>1.3.6.1.4.1.311.87</EKUOID>", "")),
    ("value", Level.ERROR, spoil_text("<RegisterDNS>", _PORTS.replace("80, 443", "4_43") + "<RegisterDNS>")),
    ("value", Level.ERROR, spoil_text("<RegisterDNS>", _PORTS.replace("80, 443", "+443") + "<RegisterDNS>")),
    ("eap-vendor", Level.ERROR, spoil_text('/EapCommon">0</AuthorId>', '/EapCommon">311</AuthorId>')),
    ("eap-vendor", Level.ERROR, spoil_text("<VendorType", "<VendorId").replace("</VendorType>", "</VendorId>")),
    ("misplaced", Level.ERROR, spoil_text("<Route>", "<RoutingPolicyType>ForceTunnel</RoutingPolicyType><Route>")),
    ("misplaced", Level.ERROR, spoil_text("<Servers>", "<DeviceTunnel>true</DeviceTunnel><Servers>")),
    ("profile-namespace", Level.ERROR, spoil_text("<VPNProfile>", '<VPNProfile xmlns="http://www.microsoft.com/VPN">')),
    ("profile-namespace", Level.ERROR, spoil_text("<NativeProfile>", '<NativeProfile xmlns="urn:x">')),
    ("two-sources", Level.ERROR, spoil_text("<CredentialsSource>", "<CredentialsSource><SmartCard></SmartCard>")),
    ("hash-spelling", Level.ERROR, spoil_text("<TrustedRootCA>", "<TrustedRootCA>&#8206;")),
    ("hash-spelling", Level.ERROR, spoil_text("<IssuerHash>fe dc", "<IssuerHash>fe:dc")),
    ("hash-spelling", Level.ADVICE, spoil_text("<IssuerHash>fe dc", "<IssuerHash>fe  dc")),
    ("csp-name", Level.ERROR, spoil_text("<Route>", "<RouteList><Route></Route></RouteList><Route>")),
    ("csp-name", Level.ERROR, spoil_text("<RegisterDNS>", "<TrafficFilterList></TrafficFilterList><RegisterDNS>")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "level", "text"), FILES, ids=[f"{rule}-{at}" for at, (rule, _, _) in enumerate(FILES)]
)
def test_what_only_a_file_can_do_wrong_is_named_once(rule: str, level: Level, text: str) -> None:
    found = [finding for finding in lint_reading(read_profile_xml(text, name="x")) if finding.rule == rule]
    assert [finding.level for finding in found] == [level]
    assert found[0].line


@pytest.mark.parametrize("name", ["hicks-entra-user", "rras-device", "lock-down"])
def test_what_administrators_have_gets_no_false_alarm(name: str) -> None:
    text = (HERE / "good" / f"{name}.xml").read_text(encoding="utf-8")
    reading = read_profile_xml(text, name=name)
    assert [finding.rule for finding in lint_reading(reading) if finding.level is Level.ERROR] == []
    assert [finding.rule for finding in reading.findings if finding.rule in ("unknown", "stray-text")] == []
    again = read_profile_xml(build_profile_xml(reading.profile, Target.INTUNE), name=name)
    assert again.profile == reading.profile


def test_a_file_full_of_routes_and_names_does_not_keep_the_linter_busy() -> None:
    """A megabyte of ProfileXML took minutes when every route was held against every other."""
    included = tuple(Route(network) for network in ip_network("10.0.0.0/8").subnets(new_prefix=21))
    excluded = tuple(Route(network, excluded=True) for network in ip_network("192.168.0.0/16").subnets(new_prefix=29))
    rules = tuple(NameRule(f".a{number}.example", ("10.0.0.1",)) for number in range(5_000))
    servers = tuple(Server(f"vpn{number}.a{number}.example") for number in range(5_000))
    began = time.process_time()
    found = lint_profile(replace(USER, routes=included + excluded, name_rules=rules, servers=servers))
    assert time.process_time() - began < 20
    assert Counter(finding.rule for finding in found)["idle-exclusion"] == len(excluded)
    assert Counter(finding.rule for finding in found)["own-name"] == len(servers)


NETWORKS = st.builds(
    lambda address, length: ip_network((address << 24, length), strict=False), st.integers(0, 255), st.integers(0, 32)
)


@given(st.lists(st.builds(Route, NETWORKS, st.booleans()), max_size=8))
def test_routes_are_told_apart_as_if_all_were_compared(items: list[Route]) -> None:
    found = list_rules(lint_profile(replace(USER, routes=tuple(items))))
    pairs = list(combinations(items, 2))
    same = [(one, other) for one, other in pairs if one.network == other.network]
    assert ("route-twice" in found) == any(one.excluded == other.excluded for one, other in same)
    assert ("route-both-ways" in found) == any(one.excluded != other.excluded for one, other in same)
    assert ("routes-overlap" in found) == any(
        one.network != other.network and one.excluded == other.excluded and one.network.overlaps(other.network)
        for one, other in pairs
    )
    includes = [route.network for route in items if not route.excluded]
    idle = [route for route in items if route.excluded and not any(map(route.network.overlaps, includes))]
    assert ("idle-exclusion" in found) == bool(includes and idle)


def test_what_we_write_for_intune_has_nothing_intune_chokes_on() -> None:
    for profile in (USER, DEVICE, ENTRA):
        reading = read_profile_xml(build_profile_xml(profile, Target.INTUNE), name=profile.name)
        assert list(reading.findings) == []


def test_every_rule_is_spoiled_here() -> None:
    """A rule that nothing can break is no rule."""
    named = {rule for rule, _ in SPOILED} | {rule for rule, _, _ in PAIRS}
    written = set()
    for path in (SOURCE / "lint").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("error", "advice"):
                rule = node.args[0]
                if isinstance(rule, ast.Constant):
                    written.add(rule.value)
    assert written - named == set()
    assert {ROOT, ISSUER}


def test_the_mend_for_several_servers_doubles_each() -> None:
    text = spoil_text("vpn.example.com;vpn.example.com", "a.example, b.example;Office")
    found = [finding for finding in read_profile_xml(text, name="x").findings if finding.rule == "servers-not-doubled"]
    assert [finding.mend for finding in found] == ["write a.example;a.example,b.example;Office"]


@pytest.mark.parametrize("address", ["2001:DB8::", "2001:0db8:0:0:0:0:0:0", "2001:db8::"])
def test_another_spelling_of_an_ipv6_network_is_no_mistake(address: str) -> None:
    text = spoil_text(
        "<Address>10.20.0.0</Address>\n    <PrefixSize>16<", f"<Address>{address}</Address><PrefixSize>32<"
    )
    assert list_rules(lint_reading(read_profile_xml(text, name="x"))) == {"gcm-ike"}


def test_the_switched_off_issuers_that_dpc_writes_for_entra_are_no_mistake() -> None:
    hashes = '<CAHashList Enabled="false"><IssuerHash>01 23</IssuerHash></CAHashList><EKUMapping>'
    text = spoil_text("<EKUMapping>", hashes, ENTRA)
    assert list_rules(lint_reading(read_profile_xml(text, name="x"))) == {"gcm-ike"}


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "cdata"])
def test_a_mistake_in_an_eap_configuration_kept_as_text_has_its_line_in_the_file(escaped: bool) -> None:
    text = build_profile_xml(USER, Target.INTUNE).replace("01 23 45", "01 23", 1)
    before, _, rest = text.partition("<Configuration>")
    inside, _, after = rest.partition("</Configuration>")
    line = text[: text.index("<TrustedRootCA>")].count("\n") + 1
    inside = html.escape(inside) if escaped else f"<![CDATA[{inside}]]>"
    text = f"{before}<Configuration>{inside}</Configuration>{after}"
    (finding,) = (item for item in read_profile_xml(text, name="x").findings if item.rule == "hash")
    assert finding.line == line


def test_peap_without_extensions_validates_as_eap_tls_without_them_does() -> None:
    """Both came with the second version of their schemas; a document of the first says ServerValidation only."""
    text = build_profile_xml(ENTRA, Target.INTUNE)
    before, _, rest = text.partition("<PeapExtensions>")
    first = read_profile_xml(before + rest.partition("</PeapExtensions>")[2], name="x").profile
    assert first.trust is not None and first.trust.validate


def test_a_misplaced_element_is_not_called_unknown_nor_written_again() -> None:
    text = spoil_text("<Servers>", "<Route><Address>10.0.0.0</Address><PrefixSize>8</PrefixSize></Route><Servers>")
    reading = read_profile_xml(text, name="x")
    assert [(finding.rule, finding.mend) for finding in reading.findings] == [
        ("misplaced", "move it out of NativeProfile, into VPNProfile itself")
    ]
    assert reading.profile.unknown == ()
