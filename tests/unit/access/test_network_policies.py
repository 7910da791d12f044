"""Reading network policies and matching them: every condition, every setting, and every way to write them wrong."""

from dataclasses import replace
from typing import Any

import pytest

from evertunnel.access.documents import PolicyError
from evertunnel.access.facts import Facts
from evertunnel.access.network_policies import NetworkPolicy, compile_network_policy, find_unmatched_condition
from evertunnel.access.own_tunnel import OwnTunnel
from evertunnel.model import TunnelKind
from tests.unit.access.samples import LAPTOP, NOW, make_facts


def compile_with(**parts: Any) -> NetworkPolicy:
    return compile_network_policy("policy", {"permission": "grant", **parts})


def match(facts: Facts, **conditions: Any) -> str | None:
    return find_unmatched_condition(compile_with(conditions=conditions), facts)


def test_the_shortest_policy_grants_to_everybody() -> None:
    policy = compile_with()
    assert (policy.grant, policy.enabled, policy.settings) == (True, True, {})
    assert find_unmatched_condition(policy, Facts(at=NOW, tunnel=None)) is None


MATCHING: dict[str, dict[str, Any]] = {
    "tunnel": {"tunnel": "user"},
    "user": {"users": ["u9", "u1"]},
    "group of the user": {"groups": ["g1"]},
    "group of the user by name": {"user_groups": ["g1"]},
    "group of the device by name": {"device_groups": ["g2"]},
    "both": {"user_groups": ["g1", "g9"], "device_groups": ["g2"]},
    "device": {"devices": ["d1"]},
    "gateway": {"gateways": ["gw1"]},
    "all": {"tunnel": "user", "users": ["u1"], "groups": ["g1"], "devices": ["d1"], "gateways": ["gw1"]},
}
NOT_MATCHING: dict[str, tuple[dict[str, Any], str]] = {
    "tunnel": ({"tunnel": "device"}, "not the device tunnel"),
    "user": ({"users": ["u2"]}, "users: the user is not one"),
    "user by name": ({"users": ["alice@corp.example"]}, "users: the user is not one"),
    "group": ({"groups": ["g3"]}, "the user is in none of the groups"),
    "group of the device": ({"groups": ["g2"]}, "the user is in none of the groups"),
    "user group": ({"user_groups": ["g2"]}, "user_groups: the user is in none"),
    "device group": ({"device_groups": ["g1"]}, "device_groups: the device is in none"),
    "device": ({"devices": ["d2"]}, "devices: the device is not one"),
    "gateway": ({"gateways": ["gw2"]}, "gateways: the gateway is not one"),
    "one of several": ({"users": ["u1"], "gateways": ["gw2"]}, "gateways: the gateway is not one"),
}


@pytest.mark.parametrize("what", MATCHING)
def test_a_condition_that_is_met_matches(what: str) -> None:
    assert match(make_facts(), **MATCHING[what]) is None


@pytest.mark.parametrize("what", NOT_MATCHING)
def test_a_condition_that_is_not_met_is_named(what: str) -> None:
    conditions, words = NOT_MATCHING[what]
    assert words in (match(make_facts(), **conditions) or "")


@pytest.mark.parametrize("what", MATCHING)
def test_no_condition_is_met_by_what_is_unknown(what: str) -> None:
    assert match(Facts(at=NOW, tunnel=None), **MATCHING[what]) is not None


def test_a_policy_that_denies_matches_the_groups_of_either() -> None:
    for group in ("g1", "g2"):
        policy = compile_network_policy("policy", {"permission": "deny", "conditions": {"groups": [group]}})
        assert find_unmatched_condition(policy, make_facts()) is None
    policy = compile_network_policy("policy", {"permission": "deny", "conditions": {"groups": ["g3"]}})
    assert find_unmatched_condition(policy, make_facts()) == "groups: neither user nor device is in a group named"


def test_a_device_tunnel_is_matched_by_the_groups_of_the_device_alone() -> None:
    facts = make_facts(tunnel=TunnelKind.DEVICE, user=None)
    assert match(facts, groups=["g2"]) is None
    assert match(facts, groups=["g1"]) is not None
    assert match(replace(facts, device=replace(LAPTOP, groups=frozenset())), groups=["g2"]) is not None


def test_settings_are_carried() -> None:
    policy = compile_with(settings={"allowed_certificate_oids": ["1.3.6.1.5.5.7.3.2"], "session_timeout_seconds": 3600})
    assert policy.allowed_certificate_oids == {"1.3.6.1.5.5.7.3.2"}
    assert policy.settings == {"session_timeout_seconds": 3600}


WRONG: dict[str, tuple[Any, str]] = {
    "not an object": ([], "$"),
    "null": (None, "$"),
    "no permission": ({}, "$.permission"),
    "a permission nobody knows": ({"permission": "allow"}, "$.permission"),
    "a permission in capitals": ({"permission": "Grant"}, "$.permission"),
    "permission true": ({"permission": True}, "$.permission"),
    "an unknown key": ({"permission": "deny", "condition": {}}, "$.condition"),
    "enabled as text": ({"permission": "deny", "enabled": "yes"}, "$.enabled"),
    "enabled as number": ({"permission": "deny", "enabled": 1}, "$.enabled"),
    "enabled null": ({"permission": "deny", "enabled": None}, "$.enabled"),
    "conditions null": ({"permission": "deny", "conditions": None}, "$.conditions"),
    "conditions as list": ({"permission": "deny", "conditions": ["users"]}, "$.conditions"),
    "settings null": ({"permission": "deny", "settings": None}, "$.settings"),
}
WRONG_CONDITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a typing error": ({"user": ["u1"]}, "$.conditions.user"),
    "an unknown tunnel": ({"tunnel": "both"}, "$.conditions.tunnel"),
    "tunnel null": ({"tunnel": None}, "$.conditions.tunnel"),
    "tunnel empty": ({"tunnel": ""}, "$.conditions.tunnel"),
    "tunnels": ({"tunnel": ["user"]}, "$.conditions.tunnel"),
    "nobody": ({"users": []}, "$.conditions.users"),
    "users null": ({"users": None}, "$.conditions.users"),
    "users as text": ({"users": "u1"}, "$.conditions.users"),
    "users as object": ({"users": {"u1": True}}, "$.conditions.users"),
    "an empty user": ({"users": ["u1", ""]}, "$.conditions.users[1]"),
    "a number for a user": ({"users": [1]}, "$.conditions.users[0]"),
    "half a character": ({"users": ["\ud800"]}, "$.conditions.users[0]"),
    "no group": ({"groups": []}, "$.conditions.groups"),
    "no user group": ({"user_groups": []}, "$.conditions.user_groups"),
    "no device group": ({"device_groups": []}, "$.conditions.device_groups"),
    "no device": ({"devices": []}, "$.conditions.devices"),
    "no gateway": ({"gateways": []}, "$.conditions.gateways"),
    "gateways false": ({"gateways": False}, "$.conditions.gateways"),
}
WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a typing error": ({"timeout": 60}, "$.settings.timeout"),
    "no usage": ({"allowed_certificate_oids": []}, "$.settings.allowed_certificate_oids"),
    "usages null": ({"allowed_certificate_oids": None}, "$.settings.allowed_certificate_oids"),
    "a usage as text": ({"allowed_certificate_oids": "1.2.3"}, "$.settings.allowed_certificate_oids"),
    "a usage by name": ({"allowed_certificate_oids": ["clientAuth"]}, "$.settings.allowed_certificate_oids[0]"),
    "a usage with a space": ({"allowed_certificate_oids": ["1.2", "1.2 "]}, "$.settings.allowed_certificate_oids[1]"),
    "a usage with leading zeros": ({"allowed_certificate_oids": ["1.02.3"]}, "$.settings.allowed_certificate_oids[0]"),
    "a short timeout": ({"session_timeout_seconds": 59}, "$.settings.session_timeout_seconds"),
    "no timeout": ({"session_timeout_seconds": 0}, "$.settings.session_timeout_seconds"),
    "timeout null": ({"session_timeout_seconds": None}, "$.settings.session_timeout_seconds"),
    "a timeout past 32 bits": ({"session_timeout_seconds": 2**31}, "$.settings.session_timeout_seconds"),
    "timeout true": ({"session_timeout_seconds": True}, "$.settings.session_timeout_seconds"),
    "a broken timeout": ({"session_timeout_seconds": 60.5}, "$.settings.session_timeout_seconds"),
    "a timeout as text": ({"session_timeout_seconds": "3600"}, "$.settings.session_timeout_seconds"),
}  # fmt: skip
EVERY_WRONG: dict[str, tuple[Any, str]] = (
    WRONG
    | {f"condition: {what}": ({"permission": "grant", "conditions": part}, path)
       for what, (part, path) in WRONG_CONDITIONS.items()}
    | {f"setting: {what}": ({"permission": "grant", "settings": part}, path)
       for what, (part, path) in WRONG_SETTINGS.items()}
)  # fmt: skip


@pytest.mark.parametrize("what", EVERY_WRONG)
def test_a_wrong_document_is_refused_with_the_place_in_it(what: str) -> None:
    document, path = EVERY_WRONG[what]
    with pytest.raises(PolicyError) as caught:
        compile_network_policy("policy", document)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("own", "grants", "denies"),
    [
        (OwnTunnel(("192.0.2.7",)), True, True),
        (OwnTunnel(("192.0.2.8",)), False, False),
        (None, False, True),  # unknown: nothing is granted for it, and nobody escapes by it
    ],
)
def test_the_devices_own_tunnel(own: OwnTunnel | None, grants: bool, denies: bool) -> None:
    facts = make_facts(own_tunnel=own)
    grant, deny = (
        compile_network_policy("policy", {"permission": permission, "conditions": {"device_tunnel": True}})
        for permission in ("grant", "deny")
    )
    assert (find_unmatched_condition(grant, facts) is None) is grants
    assert (find_unmatched_condition(deny, facts) is None) is denies
    assert find_unmatched_condition(grant, replace(facts, tunnel=TunnelKind.DEVICE)) is not None


@pytest.mark.parametrize("value", [False, None, "yes", 1])
def test_the_devices_own_tunnel_is_demanded_or_left_out(value: object) -> None:
    with pytest.raises(PolicyError, match="must be true") as raised:
        compile_with(conditions={"device_tunnel": value})
    assert raised.value.path == "$.conditions.device_tunnel"
