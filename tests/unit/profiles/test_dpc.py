"""DPC: the same meaning back from its registry values, values as data in every output, what others set understood."""

import base64
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import tree_sitter_powershell
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Language, Parser

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.dpc.gpo import build_dpc_gpo, build_dpc_lgpo
from evertunnel.profiles.dpc.limits import limit_dpc
from evertunnel.profiles.dpc.read import read_dpc
from evertunnel.profiles.dpc.script import build_dpc_powershell
from evertunnel.profiles.dpc.syntax import DPCTunnel, convert_addresses
from evertunnel.profiles.dpc.values import (
    MANUAL_ROOT,
    POLICY_ROOT,
    build_dpc_reg,
    build_dpc_values,
    build_version_value,
)
from evertunnel.profiles.model import (
    EAPTLS,
    PEAP,
    CertificateSelection,
    EntraCompliance,
    MachineCertificate,
    NameRule,
    Profile,
    Protocol,
    Routing,
    Server,
    ServerTrust,
    SingleSignOn,
    TrafficFilter,
    Unknown,
    Usage,
)  # fmt: skip
from evertunnel.profiles.read_registry import decode_reg_file
from evertunnel.profiles.registry import HEADER, RegistryType, RegistryValue, encode_reg_file
from tests.unit.profiles.hive import list_parents, merge
from tests.unit.profiles.strategies import HASH, HOSTILE, TEXT, profiles
from tests.unit.profiles.test_registry import DATA

ROOT = "a" * 40
APPS = ["", "SYSTEM", "C:\\Program Files\\x & 'y'.exe", "%ProgramFiles%\\x.exe", "Microsoft.Edge_8wekyb3d8bbwe"]


def adapt(profile: Profile, number: int) -> Profile:
    """The same profile with what DPC demands, so that it can be said by its values."""
    method = profile.authentication
    if profile.tunnel is TunnelKind.DEVICE:
        method = method if isinstance(method, MachineCertificate) else MachineCertificate(("1.3.6.1.5.5.7.3.2",))
    else:
        outer = method if isinstance(method, PEAP) else PEAP()
        inner = method if isinstance(method, EAPTLS) else outer.inner if isinstance(outer.inner, EAPTLS) else EAPTLS()
        trust = replace(outer.trust, names=(*outer.trust.names, "nps.example.com"), roots=(*outer.trust.roots, ROOT))
        inner = replace(
            inner, trust=trust, selection=replace(inner.selection, issuers=(*inner.selection.issuers, ROOT))
        )
        method = inner if isinstance(method, EAPTLS) else replace(outer, inner=inner, trust=trust)
    entra = profile.entra
    if entra is not None:
        other = entra.single_sign_on or SingleSignOn()
        entra = EntraCompliance(replace(other, issuers=(*other.issuers, ROOT)))
    filters = tuple(
        replace(item, app=APPS[(number + index) % len(APPS)], protocol=17, remote_addresses=("10.0.0.1-10.0.0.9",))
        for index, item in enumerate(profile.traffic_filters)
    )
    return replace(
        profile, servers=(Server("vpn.example.com"),), authentication=method, entra=entra, traffic_filters=filters
    )


def choose_override(profile: Profile) -> bool:
    """Whether a profile needs a whole document because DPC's values cannot say it."""
    try:
        limit_dpc(profile)
    except InvalidInputError:
        return True
    return False


def test_what_is_written_is_read_back_by_meaning(thousand_profiles: list[Profile]) -> None:
    for number, profile in enumerate(thousand_profiles):
        override = choose_override(profile)
        for candidate, whole in ((profile, override), (adapt(profile, number), False)):
            (reading,) = read_dpc(build_dpc_reg(candidate, policies=number % 2 == 0, override=whole))
            assert reading.profile == limit_dpc(candidate, override=whole)[0]
            assert not [finding for finding in reading.findings if finding.rule in ("unknown", "dpc-type", "dpc-item")]
            # What was cut down once is said whole.
            assert limit_dpc(reading.profile, override=whole)[0] == reading.profile


@settings(max_examples=100)
@given(profiles(), st.sampled_from(["UserTunnel", "UserBackupTunnel", "MachineTunnel"]))
def test_every_tunnel_of_dpc(profile: Profile, tunnel: DPCTunnel) -> None:
    device = tunnel == "MachineTunnel"
    profile = adapt(replace(profile, tunnel=TunnelKind.DEVICE if device else TunnelKind.USER), 1)
    (reading,) = read_dpc(build_dpc_reg(profile, tunnel=tunnel))
    assert reading.profile == limit_dpc(profile, tunnel=tunnel)[0]
    assert reading.profile.always_on is (device or (tunnel == "UserTunnel" and profile.always_on))
    with pytest.raises(InvalidInputError):
        build_dpc_values(profile, tunnel="UserTunnel" if device else "MachineTunnel")


def test_hivex_reads_what_we_wrote(tmp_path: Path, thousand_profiles: list[Profile]) -> None:
    for number, profile in enumerate(thousand_profiles[:40]):
        whole = number % 2 == 0 and choose_override(profile)
        candidate = profile if whole else adapt(profile, number)
        values = [*build_dpc_values(candidate, override=whole), build_version_value(candidate)]
        parents = list_parents([f"{value.key}\\x" for value in values])
        text = build_dpc_reg(candidate, override=whole)
        # The first key is the one that is deleted; what is above the others has to be made after that.
        start, deleted, rest = text.partition("\n[-")
        key, rest = rest.split("\n", 1)
        text = f"{start}{deleted}{key}\n\n{parents}{rest}"
        exported = merge(tmp_path, text, "HKEY_LOCAL_MACHINE")
        found = [item for item in decode_reg_file(exported) if isinstance(item, RegistryValue)]
        assert {(item.key, item.name): item for item in found} == {(value.key, value.name): value for value in values}
        # hivex sorts the names of lists, so only what has no order is compared.
        (reading,) = read_dpc(exported)
        expected = limit_dpc(candidate, override=whole)[0]
        assert set(reading.profile.routes) == set(expected.routes)
        assert reading.profile.authentication == expected.authentication


def build_profile() -> Profile:
    trust = ServerTrust(("nps.example.com",), (ROOT,))
    selection = CertificateSelection((ROOT,), (Usage("VPN", "1.3.6.1.4.1.99.1"),))
    return Profile(
        "Always On VPN", TunnelKind.USER, (Server("vpn.example.com"),), PEAP(EAPTLS(trust, selection), trust),
        protocols=(Protocol.IKEV2, Protocol.SSTP), version=3,
    )  # fmt: skip


def test_values_are_those_dpc_documents() -> None:
    profile = replace(
        build_profile(), use_ras_credentials=False, network_outage_seconds=300, ipv4_metric=3, ipv6_metric=3,
        name_rules=(NameRule(".corp.example.com", ("10.0.0.53", "10.0.0.54")), NameRule("vpn.example.com")),
        traffic_filters=(TrafficFilter("a", "SYSTEM", protocol=6, inbound=True),),
    )  # fmt: skip
    key = POLICY_ROOT + "\\UserTunnel"
    values = {(value.key, value.name): (value.type, value.data) for value in build_dpc_values(profile, policies=True)}
    for below, name, kind, data in (
        ("", "URL", 1, "vpn.example.com"),
        ("", "VPNStrategy", 4, 14),
        ("", "DisableRasCredentials", 4, 1),
        ("", "NetworkOutageTime", 4, 300),
        ("", "InterfaceMetric", 4, 3),
        ("", "LimitEKU", 4, 1),
        ("", "EKUOID", 1, "1.3.6.1.4.1.99.1"),
        ("\\RootCertificates", "1", 1, ROOT),
        ("\\DomainNameInfo", ".corp.example.com", 1, "10.0.0.53,10.0.0.54"),
        ("\\DomainNameInfo", "vpn.example.com", 1, ""),
        ("\\RouteList", "10.0.0.0/8", 1, ""),
        ("\\TrafficFilters\\TrafficFilter1", "Enabled", 4, 1),
        ("\\TrafficFilters\\TrafficFilter1", "Protocol", 1, "6"),
        ("\\TrafficFilters\\TrafficFilter1", "Direction", 4, 1),
    ):
        assert values[key + below, name] == (kind, data)
    assert values[POLICY_ROOT, "UserTunnel"] == (4, 1)
    assert "version 3" in build_dpc_reg(profile).splitlines()[2]


@settings(max_examples=60)
@given(profiles(), st.integers(0, 9))
def test_the_script_is_powershell_and_its_values_are_data(profile: Profile, number: int) -> None:
    profile = replace(adapt(profile, number), name=HOSTILE[number].replace("/", "").replace("\\", "") or "x")
    script = build_dpc_powershell(profile)
    assert script.isascii()
    tree = Parser(Language(tree_sitter_powershell.language())).parse(script.encode())
    assert not tree.root_node.has_error
    payload = re.search(r"@'\n([A-Za-z0-9+/=\n]+)\n'@", script)
    assert payload is not None
    document = json.loads(base64.b64decode(payload[1]))
    values = [*build_dpc_values(profile), build_version_value(profile)]
    assert {(f"HKEY_LOCAL_MACHINE\\{item['key']}", item["name"], item["data"]) for item in document["values"]} == {
        (value.key, value.name, value.data) for value in values
    }
    # Beside the payload, all scripts are one.
    assert script.replace(payload[1], "") == build_dpc_powershell(build_profile()).replace(
        re.search(r"@'\n([A-Za-z0-9+/=\n]+)\n'@", build_dpc_powershell(build_profile()))[1],
        "",  # type: ignore[index]
    )


@settings(max_examples=60)
@given(profiles(), st.integers(0, 9))
def test_the_list_for_group_policy_is_a_table_without_formulas(profile: Profile, number: int) -> None:
    hostile = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "a,b", 'a"b', "\u202ex", "=1", "x", "; y"]
    profile = replace(adapt(profile, number), name=hostile[number].replace("/", ""))
    head, *rows = csv.reader(io.StringIO(build_dpc_gpo(profile), newline=""))
    values = build_dpc_values(profile, policies=True)
    assert len(rows) == len(values) and all(len(row) == len(head) == 5 for row in rows)
    assert not [cell for row in rows for cell in row if cell.lstrip()[:1] in ("=", "+", "-", "@")]
    assert {row[0].partition("\\DPC Client")[0] for row in rows} == {
        "Computer Configuration\\Policies\\Administrative Templates"
    }


@settings(max_examples=60)
@given(profiles(), st.integers(0, 9))
def test_the_text_for_lgpo_has_four_lines_a_value(profile: Profile, number: int) -> None:
    profile = adapt(profile, number)
    blocks = [block.split("\n") for block in build_dpc_lgpo(profile).removesuffix("\n").split("\n\n")]
    assert all(len(block) == 4 and block[0] == "Computer" for block in blocks)
    set_ = {(key, name, action.partition(":")[2]) for _, key, name, action in blocks if action != "DELETEALLVALUES"}
    assert set_ == {
        (value.key.removeprefix("HKEY_LOCAL_MACHINE\\"), value.name, str(value.data))
        for value in build_dpc_values(profile, policies=True)
    }


def export(*entries: tuple[str, str]) -> str:
    return HEADER + "\n\n" + "".join(f"[{key}]\n{values}\n\n" for key, values in entries)


MINIMUM = (
    (MANUAL_ROOT, '"UserTunnel"=dword:1\n"MTU"=dword:578'),
    (f"{MANUAL_ROOT}\\UserTunnel", '"ProfileName"="VPN"\n"URL"="vpn.example.com"\n"Novelty"=hex(2):61,00,00,00'),
    (f"{MANUAL_ROOT}\\UserTunnel\\RouteList", '"10.0.0.0/8"="All"\n"10.1.0.0/99"=""\n"10.2.0.1/16"="<EMPTY>"'),
    (f"{MANUAL_ROOT}\\UserTunnel\\RootCertificates", f'"1"="{ROOT}"\n"2"="x"\n"3"=dword:1'),
    (f"{MANUAL_ROOT}\\UserTunnel\\IssuingCertificates", f'"1"="{"AA " * 20}"'),
    (f"{MANUAL_ROOT}\\UserTunnel\\NPSList", '"1"="nps.example.com"\n"2"="10.0.0.1"'),
    (f"{MANUAL_ROOT}\\UserTunnel\\DNSRouteList", '"www.example.com"="x"'),
)


def test_policies_win_value_by_value_and_lists_whole() -> None:
    text = export(
        *MINIMUM,
        (POLICY_ROOT.upper(), '"usertunnel"=dword:1'),
        (f"{POLICY_ROOT}\\UserTunnel", '"url"="gate.example.com"\n"ForceTunnel"=dword:0'),
        (f"{POLICY_ROOT}\\UserTunnel\\RouteList", '"192.168.7.0/24"=""'),
    )
    (reading,) = read_dpc(text)
    assert (reading.profile.name, reading.profile.servers) == ("VPN", (Server("gate.example.com"),))
    assert [str(route.network) for route in reading.profile.routes] == ["192.168.7.0/24"]


def test_items_that_dpc_drops_are_named_with_their_line() -> None:
    (reading,) = read_dpc(export(*MINIMUM))
    told = {(finding.rule, finding.path.rpartition("UserTunnel\\")[2], finding.line) for finding in reading.findings}
    assert told >= {
        ("network", "RouteList", 14),
        ("route-host-bits", "RouteList", 15),
        ("hash", "RootCertificates", 19),
        ("dpc-type", "RootCertificates\\3", 20),
        ("dpc-item", "NPSList", 27),
    }
    method = reading.profile.authentication
    assert isinstance(method, PEAP) and method.trust.names == ("nps.example.com",) and method.trust.roots == (ROOT,)


@pytest.mark.parametrize(
    ("route", "rule"),
    [("2001:db8::1/32", "route-host-bits"), ("10.0.0.0/255.0.0.0", "network"), ("2001:0DB8::/32", None)],
)
def test_routes_are_lengths_and_networks_in_both_families(route: str, rule: str | None) -> None:
    (reading,) = read_dpc(export(*MINIMUM, (f"{MANUAL_ROOT}\\UserTunnel\\RouteListExclude", f'"{route}"=""')))
    told = [finding.rule for finding in reading.findings if "RouteListExclude" in finding.path]
    assert told == ([rule] if rule else [])


def test_unknown_values_survive_and_are_told() -> None:
    (reading,) = read_dpc(export(*MINIMUM))
    assert {unknown.path for unknown in reading.profile.unknown} == {".", "", "DNSRouteList"}
    assert len([finding for finding in reading.findings if finding.rule == "unknown"]) == 3
    values = build_dpc_values(reading.profile)
    assert RegistryValue(MANUAL_ROOT, "MTU", RegistryType.DWORD, 0x578) in values
    assert RegistryValue(f"{MANUAL_ROOT}\\UserTunnel", "Novelty", RegistryType.EXPAND_SZ, "a") in values
    (again,) = read_dpc(build_dpc_reg(reading.profile))
    assert again.profile == reading.profile


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("", '"url"="evil.example.com"'), ("RouteList", '"0.0.0.0/1"=""'), ("routelist\\x", '"a"=""'),
        (".", '"MachineTunnel"=dword:0'),
        ("x\n[HKEY_LOCAL_MACHINE\\SOFTWARE]\n", '"a"="b"'), ("x", '"a"="b"\n"c"="d"'), ("x", "[A]"), ("", '"a\nb"="c"'),
    ],
)  # fmt: skip
def test_what_was_kept_cannot_become_a_setting(path: str, content: str) -> None:
    profile = replace(build_profile(), unknown=(Unknown("dpc", path, content),))
    with pytest.raises(InvalidInputError):
        build_dpc_reg(profile)


def test_both_tunnels_and_what_does_not_go_together() -> None:
    device = adapt(replace(build_profile(), tunnel=TunnelKind.DEVICE, name="Device", register_dns=True), 0)
    user = replace(build_profile(), register_dns=True, entra=None)
    text = build_dpc_reg(user) + build_dpc_reg(device).removeprefix(HEADER)
    first, second = read_dpc(text)
    assert (first.profile.tunnel, second.profile.tunnel) == (TunnelKind.USER, TunnelKind.DEVICE)
    assert [finding.rule for finding in first.findings] == ["dns-twice"] and not second.findings
    (off,) = read_dpc(text.replace('"UserTunnel"=dword:00000001', '"UserTunnel"=dword:00000000'))[:1]
    assert "dpc-switch" in [finding.rule for finding in off.findings]


def test_a_whole_document_goes_through_the_override_and_is_bounded() -> None:
    profile = replace(build_profile(), authentication=EAPTLS(ServerTrust(("nps.example.com",), (ROOT,))))
    limited, losses = limit_dpc(profile, override=True)
    assert limited == replace(profile, version=0) and not losses
    assert (
        any("EAP-TLS" in loss for loss in limit_dpc(replace(profile, authentication=build_profile().authentication))[1])
        is False
    )
    long = replace(
        profile, authentication=EAPTLS(ServerTrust(tuple(f"{n:0100}.example.com" for n in range(200)), (ROOT,)))
    )
    with pytest.raises(InvalidInputError, match="16000"):
        build_dpc_reg(long, override=True)
    with pytest.raises(InvalidInputError, match="OverrideXML"):
        read_dpc(export((f"{MANUAL_ROOT}\\UserTunnel", '"OverrideXML"="<!DOCTYPE x>"')))


@given(st.lists(HASH, min_size=1, max_size=3, unique=True))
def test_device_compliance_names_one_issuer_and_no_list_of_issuers(issuers: list[str]) -> None:
    profile = replace(build_profile(), entra=EntraCompliance(SingleSignOn(("1.3.6.1.5.5.7.3.2",), tuple(issuers))))
    limited, losses = limit_dpc(profile)
    assert limited.entra == EntraCompliance(SingleSignOn(("1.3.6.1.5.5.7.3.2",), (issuers[0],)))
    assert limited.selection is not None and not limited.selection.issuers
    assert any("usage of Entra" in loss for loss in losses)
    assert read_dpc(build_dpc_reg(profile))[0].profile == limited
    with pytest.raises(InvalidInputError, match="issuer"):
        limit_dpc(replace(profile, entra=EntraCompliance()))


def test_filters_are_made_narrower_never_wider() -> None:
    ipv6 = TrafficFilter(protocol=6, remote_addresses=("fd00::/8",))
    both = TrafficFilter(protocol=6, remote_addresses=("fd00::/8", "10.0.0.1-10.0.0.2"))
    with pytest.raises(InvalidInputError, match="without filters everything may pass"):
        limit_dpc(replace(build_profile(), traffic_filters=(ipv6,)))
    limited, losses = limit_dpc(replace(build_profile(), traffic_filters=(ipv6, both)))
    assert [item.remote_addresses for item in limited.traffic_filters] == [("10.0.0.1/32", "10.0.0.2/32")]
    assert any("traffic filters" in loss for loss in losses)
    assert convert_addresses(("10.0.0.0-10.0.0.255", "::1", "0.0.0.0/0")) == ("10.0.0.0/24",)


@pytest.mark.parametrize("address", ["10.0.0.1", "vpn", "*.example.com", "vpn..example.com"])
def test_the_server_is_a_full_name(address: str) -> None:
    with pytest.raises(InvalidInputError):
        build_dpc_reg(replace(build_profile(), servers=(Server(address),)))


def test_a_force_tunnel_keeps_its_proxy_and_only_excluded_routes() -> None:
    text = export(
        *((key, values) for key, values in MINIMUM if "RouteList" not in key),
        (f"{MANUAL_ROOT}\\UserTunnel", '"ForceTunnel"=dword:1\n"EnableProxy"=dword:1'),
        (f"{MANUAL_ROOT}\\UserTunnel", '"ProxyType"=dword:2\n"ProxyValue"="p:80"'),
        (f"{MANUAL_ROOT}\\UserTunnel\\ProxyExcludeList", '"1"="*.example.com"'),
        (f"{MANUAL_ROOT}\\UserTunnel\\RouteListExclude", '"10.0.0.0/8"=""'),
    )  # fmt: skip
    (reading,) = read_dpc(text)
    assert reading.profile.routing is Routing.FORCE and reading.profile.proxy is not None
    assert reading.profile.proxy.exceptions == ("*.example.com",)
    assert [route.excluded for route in reading.profile.routes] == [True]


NAMES = sorted({value.name for value in build_dpc_values(build_profile())} | {"OverrideXML", "EnableProxy", "Enabled"})
BELOW = ["", "\\RouteList", "\\NPSList", "\\DomainNameInfo", "\\TrafficFilters\\1", "\\New", "\\MachineEKU"]
ENTRIES = st.lists(
    st.builds(
        lambda root, tunnel, below, name, data: RegistryValue(f"{root}\\{tunnel}{below}", name, *data),
        st.sampled_from([MANUAL_ROOT, POLICY_ROOT]), st.sampled_from(["UserTunnel", "MachineTunnel"]),
        st.sampled_from(BELOW), st.sampled_from(NAMES) | TEXT, DATA,
    ),
    min_size=1, max_size=15,
)  # fmt: skip


@settings(max_examples=300)
@given(ENTRIES)
def test_no_values_bring_the_reader_down_or_become_more_than_they_were(values: list[RegistryValue]) -> None:
    try:
        readings = read_dpc(export(*MINIMUM) + encode_reg_file(values).removeprefix(HEADER))
    except InvalidInputError:
        return
    for reading in readings:
        try:
            text = build_dpc_reg(reading.profile)
        except InvalidInputError:
            continue
        (again,) = read_dpc(text)
        expected = limit_dpc(reading.profile)[0]
        assert replace(again.profile, unknown=()) == replace(expected, unknown=())
        # What came from two places has another order when it comes from one.
        assert set(again.profile.unknown) == set(expected.unknown)


@pytest.mark.parametrize("text", [HEADER + "\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Other]\n", "<VPNProfile/>", ""])
def test_files_without_a_tunnel_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        read_dpc(text)
