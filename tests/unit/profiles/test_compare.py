"""Comparing by meaning: what Windows changes on the way back is no difference, everything else is."""

import json
from dataclasses import replace
from ipaddress import ip_network

import pytest

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.compare import Difference, compare_profiles
from evertunnel.profiles.document import decode_document, encode_document
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.model import PEAP, NameRule, Profile, Proxy, Route, Routing, Server
from evertunnel.profiles.profile_xml import build_profile_xml
from evertunnel.profiles.read_profile_xml import read_profile_xml
from tests.unit.profiles.samples import ENTRA, USER


def test_a_profile_equals_itself_in_every_order(thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles[:300]:
        turned = replace(
            profile, routes=profile.routes[::-1], name_rules=profile.name_rules[::-1], version=7,
            traffic_filters=profile.traffic_filters[::-1], app_triggers=profile.app_triggers[::-1],
        )  # fmt: skip
        assert compare_profiles(profile, turned) == []


RETURNED = [
    ("friendly name", {"servers": (Server("VPN.example.com", "vpn.example.com"),)}, {}),
    ("defaults", {"private_network": True, "network_outage_seconds": 1800, "use_ras_credentials": True}, {}),
    ("trusted networks from rules", {"trusted_networks": ("corp.example",)}, {"trusted_networks": ()}),
    ("proxy", {"proxy": Proxy(server="proxy.example.com:80")}, {"proxy": Proxy(server="http://proxy.example.com")}),
]


@pytest.mark.parametrize(("returned", "sent"), [row[1:] for row in RETURNED], ids=[row[0] for row in RETURNED])
def test_what_windows_changes_is_no_difference(returned: dict[str, object], sent: dict[str, object]) -> None:
    assert compare_profiles(replace(USER, **sent), replace(USER, **returned)) == []


def test_the_eap_configuration_windows_gives_back_is_no_difference() -> None:
    text = build_profile_xml(ENTRA, Target.WMI).replace("<FastReconnect>true</FastReconnect>", "")
    assert compare_profiles(ENTRA, read_profile_xml(text, name="x").profile) == []


def test_differences_are_named() -> None:
    other = replace(
        USER, routing=Routing.FORCE, routes=(Route(ip_network("10.99.0.0/16")),), name_rules=(NameRule("."),)
    )
    found = {difference.field: difference for difference in compare_profiles(USER, other)}
    assert found["routing"] == Difference("routing", "SplitTunnel", "ForceTunnel")
    assert [difference for difference in compare_profiles(USER, other) if difference.field == "routes"] == [
        Difference("routes", "network=10.20.0.0/16 excluded=no metric=0", ""),
        Difference("routes", "", "network=10.99.0.0/16 excluded=no metric=0"),
    ]


def test_a_difference_deep_inside_is_named_by_its_field() -> None:
    assert isinstance(ENTRA.authentication, PEAP)
    other = replace(ENTRA, authentication=replace(ENTRA.authentication, crypto_binding=False))
    assert compare_profiles(ENTRA, other) == [Difference("authentication.crypto_binding", "yes", "no")]


def test_our_own_form_keeps_everything(thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles:
        document = json.loads(json.dumps(encode_document(profile)))
        assert decode_document(document).profile == profile


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"routing": "Sideways"}, r"\$\.profile\.routing"),
        ({"novelty": 1}, r"\$\.profile\.novelty"),
        ({"routes": [{"network": "10.0.0.0/99"}]}, r"\$\.profile\.routes\[0\]\.network"),
        ({"name": "a/b"}, "name"),
        ({"servers": []}, "servers"),
    ],
)
def test_a_mistake_in_our_own_form_is_named_with_its_path(change: dict[str, object], word: str) -> None:
    document = encode_document(USER)
    document["profile"] |= change
    with pytest.raises(InvalidInputError, match=word):
        decode_document(document)


def test_trusted_networks_taken_from_name_rules_may_keep_their_dot() -> None:
    sent = replace(USER, trusted_networks=())
    for shown in ("corp.example", ".corp.example"):
        assert compare_profiles(sent, replace(USER, trusted_networks=(shown,))) == []
    assert compare_profiles(sent, replace(USER, trusted_networks=("other.example",))) != []
