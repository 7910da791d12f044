"""ProfileXML: the same meaning back from every target, in any order of elements, and in the form Windows returns."""

import html
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evertunnel.profiles.eap_schema import PEAP_2, PEAP_3, TLS_2
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.model import EAPTLS, CertificateSelection, Profile
from evertunnel.profiles.profile_xml import build_escaped, build_profile_xml, limit_profile
from evertunnel.profiles.read_profile_xml import read_profile_xml
from evertunnel.profiles.xml_tree import Node, parse_xml, render_xml
from tests.unit.profiles.samples import DEVICE, ENTRA, TRUST, USER
from tests.unit.profiles.strategies import profiles


@pytest.mark.parametrize("target", Target)
def test_what_is_written_is_read_back_by_meaning(target: Target, thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles:
        reading = read_profile_xml(build_profile_xml(profile, target), name=profile.name)
        assert reading.profile == limit_profile(profile, target)[0]
        assert not [finding for finding in reading.findings if finding.rule == "unknown"]


@given(profiles())
def test_the_escaped_form_is_the_document(profile: Profile) -> None:
    text = build_escaped(profile)
    assert "<" not in text
    assert html.unescape(text) == build_profile_xml(profile, Target.INTUNE, indent="")
    assert read_profile_xml(text, name=profile.name).profile == limit_profile(profile, Target.INTUNE)[0]


def shuffle(node: Node, luck: random.Random) -> None:
    """Another order everywhere, but for lists whose order is their meaning."""
    order = list(node.children)
    luck.shuffle(order)
    again = {name: iter(list(node.find_all(name))) for name in {child.name for child in node.children}}
    node.children = [next(again[child.name]) for child in order]
    for child in node.children:
        shuffle(child, luck)


@settings(max_examples=20)
@given(profiles(), st.integers(0, 2**32))
def test_twenty_orders_of_elements_are_one_profile(profile: Profile, seed: int) -> None:
    text = build_profile_xml(profile, Target.INTUNE)
    expected = read_profile_xml(text, name=profile.name).profile
    luck = random.Random(seed)
    for _ in range(20):
        root = parse_xml(text)
        shuffle(root, luck)
        assert read_profile_xml(render_xml(root), name=profile.name).profile == expected


@given(profiles())
def test_a_second_pass_changes_nothing(profile: Profile) -> None:
    once = read_profile_xml(build_profile_xml(profile, Target.WMI), name=profile.name).profile
    assert read_profile_xml(build_profile_xml(once, Target.WMI), name=profile.name).profile == once


def test_unknown_elements_survive() -> None:
    text = (
        "<VPNProfile><!-- hello --><AlwaysOn>true</AlwaysOn><Novelty kind='x'>1 &lt; 2</Novelty><NativeProfile>stray"
        "<Servers>vpn.example.com;vpn.example.com</Servers><Extra><Deep/></Extra>"
        "<Authentication><MachineMethod>Certificate</MachineMethod></Authentication></NativeProfile></VPNProfile>"
    )
    reading = read_profile_xml(text, name="x")
    assert [finding.line for finding in reading.findings if finding.rule == "unknown"] == [1, 1]
    again = build_profile_xml(reading.profile, Target.INTUNE, indent="")
    assert '<Novelty kind="x">1 &lt; 2</Novelty>' in again
    assert "<Extra><Deep></Deep></Extra></NativeProfile>" in again
    assert read_profile_xml(again, name="x").profile == replace(reading.profile)


def test_unknown_elements_go_back_to_the_very_element_they_stood_in() -> None:
    root = parse_xml(build_profile_xml(replace(ENTRA, routes=USER.routes + DEVICE.routes), Target.INTUNE))
    list(root.find_all("Route"))[1].children.append(Node("Novelty", "in the second"))
    again = build_profile_xml(read_profile_xml(render_xml(root), name="x").profile, Target.INTUNE, indent="")
    assert "<Address>10.20.0.10</Address><PrefixSize>32</PrefixSize><Novelty>in the second</Novelty></Route>" in again


def test_unknown_elements_of_the_eap_configuration_survive() -> None:
    """AllowPromptingWhenServerCANotFound decides whether people are asked; it was lost without a word."""
    root = parse_xml(build_profile_xml(ENTRA, Target.INTUNE))
    for name in ("ServerValidation", "PeapExtensions", "TLSExtensions", "FilteringInfo", "CertificateStore"):
        for number, node in enumerate(find_below(root, name)):
            node.add(f"{name}{number}", "kept")
    extensions = next(find_below(root, "PeapExtensions"))
    extensions.add("PeapExtensionsV2", namespace=PEAP_2).add(
        "AllowPromptingWhenServerCANotFound", "true", namespace=PEAP_3
    )
    reading = read_profile_xml(render_xml(root), name="x")
    unknown = [finding.what for finding in reading.findings if finding.rule == "unknown"]
    assert len(unknown) == 6
    assert not [what for what in unknown if "PeapExtensionsV2" in what]
    again = parse_xml(build_profile_xml(reading.profile, Target.INTUNE))
    assert render_xml(again) == render_xml(root)


def find_below(node: Node, name: str) -> Iterator[Node]:
    for child in node.children:
        if child.name == name:
            yield child
        yield from find_below(child, name)


def test_an_extension_survives_where_nothing_else_narrows_the_certificate() -> None:
    selection = CertificateSelection(smart_card=True)
    text = build_profile_xml(replace(USER, authentication=EAPTLS(TRUST, selection)), Target.WMI, indent="")
    extension = f'<TLSExtensions xmlns="{TLS_2}"><GroupSmartCardCerts>true</GroupSmartCardCerts></TLSExtensions>'
    text = text.replace("</EapType>", f"{extension}</EapType>")
    assert build_profile_xml(read_profile_xml(text, name="x").profile, Target.WMI, indent="") == text


def test_what_stands_in_attributes_is_ascii_too() -> None:
    text = "<VPNProfile><Novelty kind='Übung'/></VPNProfile>"
    assert 'kind="&#220;bung"' in render_xml(parse_xml(text))


def test_credentials_and_device_tunnel_follow_always_on_for_intune() -> None:
    """As the samples have it that Intune was seen to accept."""
    profile = replace(DEVICE, remember_credentials=True, always_on_active=True)
    names = [child.name for child in parse_xml(build_profile_xml(profile, Target.INTUNE)).children]
    assert names[:4] == ["AlwaysOn", "RememberCredentials", "DeviceTunnel", "AlwaysOnActive"]


@given(profiles(), st.integers(0, 1))
def test_an_escaped_eap_configuration_is_unescaped_as_often_as_it_was_escaped(profile: Profile, times: int) -> None:
    """As the node of the CSP holds it. A name in it must not become markup on the way."""
    root = parse_xml(build_profile_xml(profile, Target.WMI))
    for node in find_below(root, "Configuration"):
        text = render_xml(node.children.pop(), indent="")
        for _ in range(times):
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        # Rendering escapes it once more.
        node.text = text
    expected = limit_profile(profile, Target.WMI)[0]
    assert read_profile_xml(render_xml(root), name=profile.name).profile == expected
