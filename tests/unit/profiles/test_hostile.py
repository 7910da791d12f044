"""Hostile names and values through every import to every export: they are data, or are refused with a reason."""

import copy
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.document import decode_document, encode_document
from evertunnel.profiles.dpc.values import MANUAL_ROOT
from evertunnel.profiles.findings import Reading
from evertunnel.profiles.formats import FORMATS, Options
from evertunnel.profiles.lint.linter import lint_reading
from evertunnel.profiles.model import OtherEAP, Profile, Proxy, Routing, TrafficFilter, Unknown
from evertunnel.profiles.powershell import build_payload, find_payload, read_payload
from evertunnel.profiles.recognise import read_profiles
from evertunnel.profiles.swanctl_conf import Section, decode_conf, encode_conf
from evertunnel.profiles.xml_tree import Node, parse_xml, render_xml
from tests.unit.profiles.samples import DEVICE, ENTRA, TRUST, USER
from tests.unit.profiles.strategies import HOSTILE

OWN_KEY = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Evertunnel]"
OPTIONS = Options("https://vpn.example.com")
FULL = replace(
    ENTRA,
    routing=Routing.FORCE,
    routes=(),
    class_based_route=True,
    proxy=Proxy(server="proxy.example.com:8080", exceptions=("*.corp.example",)),
    app_triggers=("C:\\app.exe",),
    traffic_filters=(TrafficFilter(app="SYSTEM"), TrafficFilter(protocol=6, remote_addresses=("10.0.0.0/8",))),
    dns_suffixes=("corp.example",),
    name_rules=USER.name_rules,
    enterprise_id="corp.example",
)
BASES = (USER, DEVICE, ENTRA, FULL)
VALUES = st.sampled_from([
    *HOSTILE, "=cmd|' /C calc'!A0", "+1", "@SUM(1)", "a,b", "a;b", "x\ny = z", "\r\n[HKEY_LOCAL_MACHINE\\X]", "'\r\n#>",
    '"\n}\nsecrets {', "\u2019; calc; \u2018", "<![CDATA[</VPNProfile>]]>", "&lt;Route/&gt;", "../../x", "a/b", "\\",
    "", '"=-', "%s{0}", "\ufeff", "0.0.0.0/0", "fe80::1%\";x", "9" * 400, "\u0661\u0662", "-1", "<EMPTY>", "\x85x",
    "\u2028y",
]) | st.text(max_size=12)  # fmt: skip
IMPORTS = (
    "profilexml-intune", "profilexml-wmi", "profilexml-schema", "profilexml-escaped", "intune-custom", "intune-vpn",
    "dpc-reg", "powershell", "swanctl", "evertunnel",
)  # fmt: skip


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Places of a JSON value, each as its container and key."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from leaves(value[key])


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def spoil_xml(text: str, draw: Callable[[Any], Any]) -> str:
    root = parse_xml(text)
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from([node for node in nodes(root) if not node.children] or [root]))
        node.text = draw(VALUES)
    if draw(st.booleans()):
        kept = Node("Novelty", draw(VALUES), attributes={"a": draw(VALUES)})
        draw(st.sampled_from(list(nodes(root)))).children.append(kept)
    return render_xml(root, indent="")


def spoil_json(value: Any, draw: Callable[[Any], Any]) -> Any:
    value = copy.deepcopy(value)
    places = list(leaves(value))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places))
        container[key] = draw(VALUES | st.none() | st.booleans() | st.integers() | st.just([]) | st.just({}))
    if isinstance(value, dict) and draw(st.booleans()):
        value[draw(VALUES)] = draw(VALUES)
    return value


def spoil_sections(section: Section, draw: Callable[[Any], Any]) -> None:
    for name in section.settings:
        if draw(st.integers(0, 3)) == 0:
            section.settings[name] = draw(VALUES)
    for inner in section.sections.values():
        spoil_sections(inner, draw)


@st.composite
def hostile_files(draw: st.DrawFn) -> bytes:
    """A file of any format that somebody spoiled on purpose: still of its format, with values of their choice."""
    name = draw(st.sampled_from(IMPORTS))
    base = draw(st.sampled_from(BASES))
    try:
        text = FORMATS[name].build(base, OPTIONS)
    except InvalidInputError:
        text = FORMATS[name].build(DEVICE, OPTIONS)
    if name == "profilexml-escaped":
        document = spoil_xml(FORMATS["profilexml-intune"].build(base, OPTIONS), draw)
        text = document.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    elif name.startswith("profilexml"):
        text = spoil_xml(text, draw)
    elif name == "powershell":
        payload = find_payload(text)
        assert payload
        spoiled = spoil_json(read_payload(text, "install-profile"), draw)
        text = text.replace(payload, build_payload(spoiled))
    elif name == "dpc-reg":
        for _ in range(draw(st.integers(1, 3))):
            quoted = draw(VALUES).replace("\\", "\\\\").replace('"', '\\"')
            spot = draw(st.sampled_from([item.span(1) for item in re.finditer(r'"((?:[^"\\]|\\.)*)"', text)]))
            text = text[: spot[0]] + quoted + text[spot[1] :]
    elif name == "swanctl":
        conf = decode_conf(text)
        spoil_sections(conf, draw)
        title = json.dumps(draw(VALUES)) if draw(st.booleans()) else f'"{draw(VALUES)}"'
        try:
            text = f"# Evertunnel profile {title}, version 1\n{encode_conf(conf)}"
        except InvalidInputError:
            text = f"# Evertunnel profile {title}, version 1\n{text}"
    else:
        text = json.dumps(spoil_json(json.loads(text), draw))
    return text.encode("utf-8", "surrogatepass")


def read(data: bytes) -> list[Reading]:
    try:
        return read_profiles(data, name="x")
    except InvalidInputError:
        return []


def list_elements(text: str) -> set[str]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    return {etree.QName(node).localname for node in etree.fromstring(text.encode(), parser).iter(etree.Element)}


KNOWN_ELEMENTS = {
    name
    for base in BASES
    for target in ("profilexml-intune", "profilexml-wmi", "profilexml-schema")
    for name in list_elements(FORMATS[target].build(base, OPTIONS))
}
OTHER_ELEMENTS = """
    Claims LocalPortRanges RemotePortRanges LocalAddressRanges RoutingPolicyType Direction WebProxyServers Persistent
    AutoTrigger AutoConfigUrl ProtocolList NativeProtocol Type RetryTimeInHours L2tpPsk AlwaysOnActive LockDown
    RememberCredentials ByPassForLocal PlumbIKEv2TSAsRoutes NetworkOutageTime IPv4InterfaceMetric SmartCard Metric
    IPv6InterfaceMetric UseRasCredentials DataEncryption PrivateNetwork DisableIKEv2Fragmentation ExclusionRoute
    DisableAdvancedOptionsEditButton DisableDisconnectButton AllPurposeEnabled AnyPurposeEKUList IdentityPrivacy
    EnableIdentityPrivacy AnonymousUserName UseWinLogonCredentials Novelty
"""
SCRIPTS = {
    name: FORMATS[name].build(USER if name == "certificate-script" else ENTRA, OPTIONS)
    for name in ("powershell", "certificate-script", "rras", "dpc-powershell")
}


def strip_payload(text: str) -> str:
    return re.sub(r"^\$Payload = (?:'[A-Za-z0-9+/=]*'|@'\n[A-Za-z0-9+/=\n]*'@)$", "PAYLOAD", text, flags=re.M | re.I)


def check_xml(text: str, profile: Profile) -> None:
    # A method that is carried along as it came has elements of its own.
    carried = list_elements(profile.authentication.xml) if isinstance(profile.authentication, OtherEAP) else set()
    assert list_elements(text) - KNOWN_ELEMENTS - set(OTHER_ELEMENTS.split()) - carried == set()
    assert text.isascii()


def check_reg(text: str) -> None:
    for line in text.splitlines()[1:]:
        if line.startswith("["):
            assert line == OWN_KEY or line.removeprefix("[").removeprefix("-").startswith(MANUAL_ROOT), line
        else:
            assert not line or line.startswith(("; ", ";", '"', "@=", "  ")), line


def check_csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert {len(row) for row in rows} == {5}
    assert not [cell for row in rows for cell in row if cell.lstrip().startswith(("=", "+", "-", "@"))]


def check_swanctl(text: str) -> None:
    conf = decode_conf(text)
    assert list(conf.sections) == ["connections"]
    (connection,) = conf.sections["connections"].sections.values()
    assert set(connection.sections) == {"local", "remote", "children"}
    assert set(connection.sections["children"].sections) == {"net"}
    assert set(connection.settings) <= {"version", "remote_addrs", "vips", "dpd_delay", "keyingtries", "proposals"}
    assert text.splitlines()[1] == "connections {"


def check_output(name: str, text: str, profile: Profile) -> None:
    if name in SCRIPTS:
        assert strip_payload(text) == strip_payload(SCRIPTS[name])
    elif name == "profilexml-escaped":
        assert not set(text) & set('<>"')
    elif name.startswith("profilexml"):
        check_xml(text, profile)
    elif name == "dpc-reg":
        check_reg(text)
    elif name == "dpc-gpo":
        check_csv(text)
    elif name == "swanctl":
        check_swanctl(text)
    else:
        assert isinstance(json.loads(text), dict)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile_files())
def test_hostile_values_are_data_or_are_refused(data: bytes) -> None:
    for reading in read(data):
        for finding in lint_reading(reading):
            assert finding.what
        for item in FORMATS.values():
            try:
                text = item.build(reading.profile, OPTIONS)
            except InvalidInputError:
                continue
            item.losses(reading.profile, OPTIONS)
            check_output(item.name, text, reading.profile)


KEPT = [
    ("profile-xml", "VPNProfile", "<Route><Address>0.0.0.0</Address><PrefixSize>0</PrefixSize></Route>"),
    ("profile-xml", "VPNProfile", "<x:aLWAYSoN xmlns:x='urn:x'>false</x:aLWAYSoN>"),
    ("profile-xml", "VPNProfile/NativeProfile", "<Servers>evil.example</Servers>"),
    ("profile-xml", "VPNProfile/Gone", "<NativeProfile></NativeProfile>"),
    ("profile-xml", "VPNProfile", "<a"),
    ("intune-vpn", "$.proxyServer", '{"address": "evil.example"}'),
    ("intune-vpn", "$.eapXml: EapHostConfig", "<Config></Config>"),
    ("intune-vpn", "$.novelty", "{"),
    ("intune-vpn", "$.novelty", "[" * 100_000),
]


@pytest.mark.parametrize(("form", "path", "content"), KEPT, ids=range(len(KEPT)))
def test_what_was_kept_cannot_become_a_setting(form: str, path: str, content: str) -> None:
    profile = replace(USER, unknown=(Unknown(form, path, content),))
    name = "profilexml-wmi" if form == "profile-xml" else "intune-vpn"
    with pytest.raises(InvalidInputError):
        FORMATS[name].build(profile, OPTIONS)
    other = "intune-vpn" if form == "profile-xml" else "profilexml-wmi"
    assert "not understood" in " ".join(FORMATS[other].losses(profile, Options()))


@pytest.mark.parametrize(
    "method", [OtherEAP(55, "<Foo></Foo>"), OtherEAP(13, "<EapHostConfig></EapHostConfig>"), OtherEAP(55, "</a>")]
)
def test_a_method_carried_along_is_nothing_else(method: OtherEAP) -> None:
    with pytest.raises(InvalidInputError):
        FORMATS["profilexml-wmi"].build(replace(USER, authentication=method), OPTIONS)


@pytest.mark.parametrize("title", ['"\\x"', '"a" "b"', '"' + "[" * 5_000 + '"'])
def test_a_spoiled_title_is_no_title(title: str) -> None:
    text = f"# Evertunnel profile {title}, version 1\nconnections {{ gw {{ remote_addrs = vpn.example.com }} }}"
    assert read_profiles(text.encode(), name="x")[0].profile.name in ("gw", "[" * 5_000)


@pytest.mark.parametrize("kind", ['["x"]', "{}", "5", "null"])
def test_a_type_that_is_no_text_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInputError, match="no VPN profile"):
        read_profiles(f'{{"@odata.type": {kind}}}'.encode(), name="x")


@pytest.mark.parametrize("value", ["\x80", "****", "AA"])
def test_a_value_that_is_no_base64_is_refused(value: str) -> None:
    document = json.loads(FORMATS["intune-custom"].build(USER, OPTIONS))
    document["omaSettings"][0]["value"] = value
    with pytest.raises(InvalidInputError, match="base64"):
        read_profiles(json.dumps(document).encode(), name="x")


def test_what_an_app_may_use_of_the_tunnel_is_not_lost() -> None:
    document = json.loads(FORMATS["intune-vpn"].build(USER, OPTIONS))
    document |= {"onlyAssociatedAppsCanUseConnection": True, "customXml": None}
    (reading,) = read_profiles(json.dumps(document).encode(), name="x")
    assert [unknown.path for unknown in reading.profile.unknown] == ["$.onlyAssociatedAppsCanUseConnection"]
    assert '"onlyAssociatedAppsCanUseConnection": true' in FORMATS["intune-vpn"].build(reading.profile, OPTIONS)
    assert TRUST.names


@pytest.mark.parametrize("network", [False, True, 0, 7, 2**40, ["10.0.0.0/8"]])
def test_what_is_no_text_is_no_network(network: Any) -> None:
    document = encode_document(USER)
    document["profile"]["routes"] = [{"network": network}]
    with pytest.raises(InvalidInputError, match=r"\$\.profile\.routes\[0\]\.network"):
        decode_document(document)


def test_our_own_form_is_written_of_nothing_that_could_not_be_read_back() -> None:
    broken = replace(USER, servers=(replace(USER.servers[0], address=""),))
    with pytest.raises(InvalidInputError, match=r"servers\[0\]\.address"):
        FORMATS["evertunnel"].build(broken, OPTIONS)


def test_a_key_as_long_as_a_file_makes_no_error_as_long() -> None:
    document = encode_document(USER)
    document["profile"]["x" * 100_000] = 1
    with pytest.raises(InvalidInputError) as refused:
        decode_document(document)
    assert str(refused.value).startswith("$.profile.xxx") and len(str(refused.value)) < 300
