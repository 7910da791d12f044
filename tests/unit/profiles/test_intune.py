"""Intune's two forms: the same meaning back, and what cannot be said is listed."""

import base64
import json

import pytest

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.intune import build_custom, limit_custom, read_custom
from evertunnel.profiles.intune_vpn import build_vpn, limit_vpn
from evertunnel.profiles.model import Profile
from evertunnel.profiles.read_intune_vpn import read_vpn
from tests.unit.profiles.samples import DEVICE, ENTRA, USER


def test_the_custom_configuration_is_read_back_by_meaning(thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles:
        (reading,) = read_custom(json.loads(json.dumps(build_custom(profile))))
        assert reading.profile == limit_custom(profile)[0]


def test_the_vpn_form_is_read_back_by_meaning(thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles:
        limited, losses = limit_vpn(profile)
        assert read_vpn(json.loads(json.dumps(build_vpn(profile)))).profile == limited
        assert bool(losses) == (limited != limit_vpn(limited)[0]) or limited == limit_vpn(limited)[0]


def test_scope_and_name_stand_in_the_uri() -> None:
    (setting,) = build_custom(DEVICE)["omaSettings"]
    assert setting["omaUri"] == "./Device/Vendor/MSFT/VPNv2/Corp%20VPN%20Device/ProfileXML"
    (setting,) = build_custom(USER)["omaSettings"]
    assert setting["omaUri"] == "./User/Vendor/MSFT/VPNv2/Corp%20VPN/ProfileXML"


def test_what_the_form_cannot_say_is_listed() -> None:
    from dataclasses import replace

    _, losses = limit_vpn(replace(USER, ipv4_metric=3, hide_edit_button=True))
    assert losses == ["IPv4InterfaceMetric", "DisableAdvancedOptionsEditButton"]
    assert limit_vpn(ENTRA)[1] == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"connectionType": "ciscoAnyConnect"}, "$.connectionType"),
        ({"routes": [{"destinationPrefix": "x", "prefixSize": 8}]}, "$.routes[0]"),
        ({"routes": "x"}, "$.routes"),
        ({"eapXml": "%%%"}, "$.eapXml"),
        ({"eapXml": "PCFET0NUWVBFIHg+PHgvPg=="}, "line 1"),
        ({"enableAlwaysOn": "true"}, "$.enableAlwaysOn"),
        ({"servers": [1]}, "$.servers[0]"),
        ({"singleSignOnIssuerHash": "x"}, "$.singleSignOnIssuerHash"),
    ],
)
def test_a_mistake_is_named_with_its_path(change: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidInputError, match=word.replace("$", r"\$").replace("[", r"\[")):
        read_vpn(build_vpn(ENTRA) | change)


def test_unknown_properties_inside_are_reported() -> None:
    body = build_vpn(USER)
    body["routes"][0] |= {"via": "10.0.0.1"}
    assert [finding.what for finding in read_vpn(body).findings] == ["$.routes[0].via is not known"]
    assert list(read_vpn(build_vpn(ENTRA)).findings) == []


def test_host_bits_of_a_route_are_named_with_their_path() -> None:
    route = {"destinationPrefix": "10.20.0.1", "prefixSize": 16}
    (finding,) = read_vpn(build_vpn(USER) | {"routes": [route]}).findings
    assert (finding.rule, finding.path, finding.mend) == ("route-host-bits", "$.routes[0]", "write 10.20.0.0")


def test_unknown_properties_survive() -> None:
    reading = read_vpn(build_vpn(USER) | {"novelty": {"a": [1]}})
    assert [finding.rule for finding in reading.findings] == ["unknown"]
    assert build_vpn(reading.profile)["novelty"] == {"a": [1]}


@pytest.mark.parametrize(
    ("profile", "uri", "rules"),
    [
        (DEVICE, "./User/Vendor/MSFT/VPNv2/Corp%20VPN/ProfileXML", ["oma-scope"]),
        (DEVICE, "./Vendor/MSFT/VPNv2/Corp%20VPN/ProfileXML", []),
        (USER, "./Device/Vendor/MSFT/VPNv2/Corp%20VPN/ProfileXML", ["oma-scope"]),
        (USER, "./User/Vendor/MSFT/VPNv2/Corp VPN/ProfileXML", ["oma-name"]),
        (USER, "./User/Vendor/MSFT/VPNv2/Corp%20VPN%21/ProfileXML", []),
    ],
)
def test_the_uri_says_scope_and_name(profile: Profile, uri: str, rules: list[str]) -> None:
    document = build_custom(profile)
    document["omaSettings"][0]["omaUri"] = uri
    (reading,) = read_custom(document)
    assert [finding.rule for finding in reading.findings] == rules
    assert reading.profile.name.startswith("Corp VPN")


def test_unknown_elements_of_the_eap_xml_survive() -> None:
    body = build_vpn(USER)
    text = base64.b64decode(body["eapXml"]).decode().replace("</ServerValidation>", "<New>1</New></ServerValidation>")
    body["eapXml"] = base64.b64encode(text.encode()).decode()
    assert build_vpn(read_vpn(body).profile)["eapXml"] == body["eapXml"]


@pytest.mark.parametrize(
    ("profile", "target", "levels"),
    [
        (USER, "user", []),
        (DEVICE, "device", []),
        (DEVICE, "autoPilotDevice", ["advice"]),
        (USER, "device", ["advice"]),
        (DEVICE, "user", ["error"]),
    ],
)
def test_the_target_of_the_form_does_not_get_lost(profile: Profile, target: str, levels: list[str]) -> None:
    found = read_vpn(build_vpn(profile) | {"profileTarget": target}).findings
    assert [(finding.level, finding.path) for finding in found] == [(level, "$.profileTarget") for level in levels]
