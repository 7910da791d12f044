"""What a policy says in words of ours: a least source for the facts it looks at, and the device's own tunnel."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evertunnel.access.conditional.evaluation import Evaluation, evaluate_access_policies
from evertunnel.access.conditional.policies import compile_access_policy
from evertunnel.access.decision import build_sign_in
from evertunnel.access.documents import PolicyError
from evertunnel.access.facts import Facts
from evertunnel.access.own_tunnel import OwnTunnel
from evertunnel.access.told_facts import read_told_facts
from evertunnel.model import Fact, Reason
from tests.unit.access.samples import NOW, make_document, make_facts, say


def make_policy(*controls: str, conditions: dict[str, Any] | None = None, **ours: Any) -> dict[str, Any]:
    document = make_document(*controls)
    document["conditions"] |= conditions or {}
    return document | {"evertunnel": ours}


def evaluate(document: dict[str, Any], facts: Facts) -> Evaluation:
    facts = replace(facts, sign_in=read_told_facts(facts))
    return evaluate_access_policies([compile_access_policy(document, {})], build_sign_in(facts))


def tell(name: str, value: str, source: str) -> dict[str, tuple[Fact, ...]]:
    return {name: (Fact(name, value, source, NOW),)}


@pytest.mark.parametrize(
    ("ours", "path", "problem"),
    [
        ("mdm", "$.evertunnel", "must be an object"),
        ({"leastSource": "intune"}, "$.evertunnel.leastSource", "'intune' is not one of device, import, script, mdm"),
        ({"leastSource": "MDM"}, "$.evertunnel.leastSource", "'MDM' is not one of"),
        ({"leastSource": 3}, "$.evertunnel.leastSource", "must be a text"),
        ({"leastSource": "impossible travel"}, "$.evertunnel.leastSource", "is not one of"),
        ({"leastsource": "mdm"}, "$.evertunnel.leastsource", "known are leastSource, requireDeviceTunnel"),
        ({"requireDeviceTunnel": "yes"}, "$.evertunnel.requireDeviceTunnel", "must be true or false"),
    ],
)
def test_a_mistake_is_named_with_its_place(ours: Any, path: str, problem: str) -> None:
    with pytest.raises(PolicyError) as raised:
        compile_access_policy(make_document("mfa") | {"evertunnel": ours}, {})
    assert raised.value.path == path
    assert problem in raised.value.problem


@pytest.mark.parametrize("ours", [None, {}, {"leastSource": None, "requireDeviceTunnel": None}])
def test_nothing_said_is_nothing_demanded(ours: Any) -> None:
    policy = compile_access_policy(make_document("mfa") | {"evertunnel": ours}, {})
    assert policy.unevaluable == ()
    assert policy.grant is not None
    assert [control.name for control in policy.grant.controls] == ["mfa"]


@pytest.mark.parametrize(
    ("source", "least", "granted"),
    [
        ("device posture", None, True),
        ("device posture", "device", True),
        ("device posture", "import", False),
        ("script", "mdm", False),
        ("mdm posture", "mdm", True),
        ("administrator", "mdm", True),
        ("supposed", "administrator", True),
        ("somebody", "device", False),
    ],
)
def test_a_yes_counts_from_the_least_source_on(source: str, least: str | None, granted: bool) -> None:
    found = evaluate(make_policy("compliantDevice", leastSource=least), make_facts(say("true", source=source)))
    assert (found.refusal is None) is granted
    if not granted and source != "somebody":
        [result] = found.results
        assert (
            f"only {source} said true at 2026-05-04 12:30:00 UTC, and the word of {least} is demanded" in result.detail
        )


def test_a_no_counts_from_every_source() -> None:
    facts = make_facts(say("true", source="administrator"), say("false", source="device posture"))
    assert evaluate(make_policy("compliantDevice", leastSource="mdm"), facts).refusal is not None


def test_a_policy_beside_one_with_a_least_source_is_not_concerned() -> None:
    facts = make_facts(say("true", source="device posture"))
    policies = [make_policy("compliantDevice"), make_policy("compliantDevice", leastSource="mdm")]
    compiled = [compile_access_policy(document, {}) for document in policies]
    found = evaluate_access_policies(compiled, build_sign_in(facts))
    assert [result.result for result in found.results] == ["success", "failure"]


@pytest.mark.parametrize(
    ("conditions", "told", "words"),
    [
        ({"userRiskLevels": ["high"]}, {"user_facts": tell("user_risk", "low", "script")}, "NNFF"),
        (
            {"devices": {"deviceFilter": {"mode": "include", "rule": 'device.model -eq "X1"'}}},
            {"device_facts": tell("model", "X2", "script")},
            "NNFF",
        ),
        (
            {"platforms": {"includePlatforms": ["windows"]}},
            {"device_facts": tell("operatingSystem", "Linux", "script")},
            "NNFF",
        ),
    ],
    ids=["risk", "devices", "platforms"],
)
def test_what_is_asked_once_for_many_policies_is_never_asked_of_another_source(
    conditions: dict[str, Any], told: dict[str, Any], words: str
) -> None:
    facts = make_facts(**told)
    facts = replace(facts, sign_in=read_told_facts(facts))
    documents = [
        make_policy("block", conditions=conditions, leastSource=least) for least in (None, "script", "mdm", "mdm")
    ]
    compiled = [compile_access_policy(document, {}) for document in documents]
    for policies in (compiled, compiled[::-1]):
        found = evaluate_access_policies(policies, build_sign_in(facts))
        said = "".join({"notApplied": "N", "failure": "F"}[result.result] for result in found.results)
        assert said == (words if policies is compiled else words[::-1])
    # The two that demand the same are equal, which is what makes them be asked once.
    assert compiled[2].telling_of_vpn == compiled[3].telling_of_vpn
    assert len({policy.telling_of_vpn for policy in compiled}) == 3


def test_joined_to_the_domain_too() -> None:
    facts = make_facts(device_facts=tell("domain_joined", "true", "script"))
    assert evaluate(make_policy("domainJoinedDevice", leastSource="script"), facts).refusal is None
    assert evaluate(make_policy("domainJoinedDevice", leastSource="mdm"), facts).refusal is not None


def include_model(mode: str) -> dict[str, Any]:
    return {"devices": {"deviceFilter": {"mode": mode, "rule": 'device.model -eq "X1"'}}}


@pytest.mark.parametrize(
    ("mode", "model", "source", "word"),
    [
        ("include", "X2", "mdm", "notApplied"),
        ("include", "X2", "device", "failure"),  # it may be an X1 that says otherwise
        ("exclude", "X1", "mdm", "notApplied"),
        ("exclude", "X1", "device", "failure"),
    ],
)
def test_a_device_filter_believes_no_weaker_source(mode: str, model: str, source: str, word: str) -> None:
    document = make_policy("block", conditions=include_model(mode), leastSource="mdm")
    found = evaluate(document, make_facts(device_facts=tell("model", model, source)))
    assert found.results[0].result == word
    if mode == "include" and source == "device":
        assert "what is known comes from a weaker source than mdm" in found.results[0].detail


@pytest.mark.parametrize(("source", "word"), [("mdm", "notApplied"), ("device", "failure"), (None, "failure")])
def test_nobody_leaves_a_policy_by_telling_another_platform(source: str | None, word: str) -> None:
    document = make_policy("block", conditions={"platforms": {"includePlatforms": ["windows"]}}, leastSource="mdm")
    told = {} if source is None else tell("operatingSystem", "Linux", source)
    assert evaluate(document, make_facts(device_facts=told)).results[0].result == word


@pytest.mark.parametrize(("source", "word"), [("script", "notApplied"), ("impossible travel", "failure")])
def test_a_low_risk_is_believed_of_the_least_source(source: str, word: str) -> None:
    document = make_policy("block", conditions={"userRiskLevels": ["high"]}, leastSource="script")
    facts = make_facts(user_facts=tell("user_risk", "low", source))
    assert evaluate(document, facts).results[0].result == word


def test_a_least_source_wants_more_than_that_we_found_nothing() -> None:
    facts = make_facts(sign_in=replace(make_facts().sign_in, user_risk="none"))
    conditions = {"userRiskLevels": ["high"]}
    assert evaluate(make_policy("block", conditions=conditions), facts).refusal is None
    assert evaluate(make_policy("block", conditions=conditions, leastSource="device"), facts).refusal is None
    assert evaluate(make_policy("block", conditions=conditions, leastSource="script"), facts).refusal is not None


def test_a_sign_in_of_which_nobody_knows_who_told_it_is_not_believed() -> None:
    sign_in = build_sign_in(make_facts(say("true")))
    assert sign_in.compliant.value
    assert replace(sign_in, told_by=None).limit("device").compliant.value is None


HERE = OwnTunnel(("192.0.2.7",))


@pytest.mark.parametrize(
    ("own", "met"), [(HERE, True), (OwnTunnel(("192.0.2.8",)), False), (OwnTunnel(), False), (None, False)]
)
def test_the_devices_own_tunnel_is_a_control(own: OwnTunnel | None, met: bool) -> None:
    found = evaluate(make_policy(requireDeviceTunnel=True), make_facts(own_tunnel=own))
    assert (found.refusal is None) is met
    if not met:
        assert found.refusal is not None
        assert found.refusal[0] is Reason.DEVICE_TUNNEL_NOT_UP
        assert [missing.control for missing in found.missing] == ["deviceTunnel"]


def test_it_stands_beside_the_others_as_the_operator_says() -> None:
    compliant = make_facts(say("true"), own_tunnel=OwnTunnel())
    both = make_policy("compliantDevice", requireDeviceTunnel=True)
    assert evaluate(both, compliant).refusal is not None
    either = make_policy("compliantDevice", requireDeviceTunnel=True)
    either["grantControls"]["operator"] = "OR"
    assert evaluate(either, compliant).refusal is None
    assert evaluate(either, make_facts(own_tunnel=HERE)).refusal is None
    assert evaluate(either, make_facts(own_tunnel=OwnTunnel())).refusal is not None


def test_alone_it_needs_no_grant_controls_and_beside_block_it_makes_no_sense() -> None:
    document = make_policy(requireDeviceTunnel=True)
    document["grantControls"] = None
    assert evaluate(document, make_facts(own_tunnel=HERE)).satisfied == 1
    with pytest.raises(PolicyError, match="block stands alone"):
        compile_access_policy(make_policy("block", requireDeviceTunnel=True), {})


def test_a_certificate_is_given_without_it_for_the_tunnel_is_asked() -> None:
    found = evaluate(make_policy(requireDeviceTunnel=True), make_facts(tunnel=None))
    assert found.refusal is None
    assert "asked for when the user tunnel comes up" in found.results[0].detail


def test_what_ran_out_is_unknown_from_every_source() -> None:
    old = say("true", source="administrator", age=60, life=60)
    facts = make_facts(old, at=NOW + timedelta(seconds=1))
    assert evaluate(make_policy("compliantDevice", leastSource="device"), facts).refusal is not None
