"""Self-tests of policies are read strictly, pass for a reason, and say which policy and condition made them fail."""

from dataclasses import replace
from typing import Any

import pytest

from evertunnel.access.conditional.policies import compile_access_policy
from evertunnel.access.decision import Policies
from evertunnel.access.documents import PolicyError
from evertunnel.access.network_policies import compile_network_policy
from evertunnel.access.policy_test_results import PolicyTestResult, PolicyTestsError, run_policy_test
from evertunnel.access.policy_tests import compile_policy_test
from evertunnel.model import CertificateKind, TunnelKind
from tests.unit.access.samples import ALICE, LAPTOP, make_certificate, make_document, make_facts

TEST: dict[str, Any] = {"name": "alice", "user": "alice@corp.example", "expect": "grant"}
GRANT = compile_network_policy("everything", {"permission": "grant"})


def make_policies(*documents: Any, network: Any = (GRANT,)) -> Policies:
    return Policies(network, [compile_access_policy(document, {}) for document in documents])


def run(test: dict[str, Any], policies: Policies, **changes: Any) -> PolicyTestResult:
    facts = replace(make_facts(), client_address="", **changes)
    return run_policy_test(compile_policy_test({**TEST, **test}), policies, facts)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"expects": "grant"}, "$.expects"),
        ({"expect": "grants"}, "$.expect"),
        ({"expect": None}, "$.expect"),
        ({"name": ""}, "$.name"),
        ({"name": "x" * 101}, "$.name"),
        ({"name": "a\x1b[2Jb"}, "$.name"),
        ({"name": "a\u202eb"}, "$.name"),
        ({"name": 7}, "$.name"),
        ({"user": None}, "$.user"),
        ({"user": "x" * 257}, "$.user"),
        ({"for": "device-tunnel"}, "$.device"),
        ({"for": "device-tunnel", "device": "laptop1"}, "$.user"),
        ({"for": "tunnel"}, "$.for"),
        ({"for": "certificate", "certificate": "user"}, "$.certificate"),
        ({"certificate": "gateway"}, "$.certificate"),
        ({"address": "office"}, "$.address"),
        ({"country": "fr"}, "$.country"),
        ({"country": "ÄÖ"}, "$.country"),
        ({"country": "UK"}, "$.country"),
        ({"country": ["FR"]}, "$.country"),
        ({"platform": "Windows"}, "$.platform"),
        ({"compliant": "yes"}, "$.compliant"),
        ({"own_tunnel": "yes"}, "$.own_tunnel"),
        ({"sign_in_risk": "hidden"}, "$.sign_in_risk"),
        ({"insider_risk": "low"}, "$.insider_risk"),
        ({"methods": ["fido"]}, "$.methods[0]"),
        ({"methods": "fido2"}, "$.methods"),
        ({"signed_in_seconds_ago": 60}, "$.methods"),
        ({"signed_in_seconds_ago": -1, "methods": ["fido2"]}, "$.signed_in_seconds_ago"),
        ({"signed_in_seconds_ago": 1e9, "methods": ["fido2"]}, "$.signed_in_seconds_ago"),
        ({"signed_in_seconds_ago": 10**30, "methods": ["fido2"]}, "$.signed_in_seconds_ago"),
        ({"device_properties": {"modell": "x"}}, "$.device_properties.modell"),
        ({"device_properties": {"isCompliant": True}}, "$.device_properties.isCompliant"),
        ({"device_properties": {"model": 7}}, "$.device_properties.model"),
        ({"device_properties": {"physicalIds": "x"}}, "$.device_properties.physicalIds"),
        ({"device_properties": {"model": "x" * 9000}}, "$"),
        ({"reason": "because"}, "$.reason"),
        ({"reason": "mfa_required"}, "$.reason"),
        ({"expect": "block", "reason": "granted"}, "$.reason"),
        ({"policy": ""}, "$.policy"),
    ],
)
def test_what_is_wrong_with_a_test_is_said_with_its_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compile_policy_test({**TEST, **changes})
    assert caught.value.path == place
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("document", [None, [], "alice", 7, {}])
def test_what_is_no_test_is_refused(document: Any) -> None:
    with pytest.raises(PolicyError):
        compile_policy_test(document)


def test_everything_not_given_is_unknown() -> None:
    policies = make_policies(make_document("compliantDevice", name="Compliant"))
    assert run({"expect": "block", "reason": "device_not_compliant"}, policies).passed
    assert run({"expect": "grant", "compliant": True}, policies).passed
    assert run({"expect": "block", "compliant": False}, policies).passed


def test_the_devices_own_tunnel_may_be_given() -> None:
    document = make_document(name="Own tunnel") | {"grantControls": None, "evertunnel": {"requireDeviceTunnel": True}}
    policies = make_policies(document)
    assert run({"own_tunnel": True}, policies).passed
    for given in ({}, {"own_tunnel": False}):
        assert run({**given, "expect": "block", "reason": "device_tunnel_not_up"}, policies).passed


def test_what_is_supposed_counts_from_every_least_source() -> None:
    document = make_document("compliantDevice", name="Told by MDM") | {"evertunnel": {"leastSource": "administrator"}}
    document["conditions"]["userRiskLevels"] = ["medium"]
    policies = make_policies(document)
    assert run({"compliant": False, "user_risk": "low"}, policies).passed
    assert run({"compliant": True, "user_risk": "medium", "policy": "Told by MDM"}, policies).passed
    assert run({"compliant": False, "user_risk": "medium", "expect": "block"}, policies).passed


def test_a_test_that_fails_says_what_it_got_and_which_policy_and_condition_decided() -> None:
    block = make_document("block", name="Block Linux")
    block["conditions"]["platforms"] = {"includePlatforms": ["linux"]}
    policies = make_policies(block)
    failed = run({"name": "from Windows", "platform": "windows", "expect": "block"}, policies)
    assert failed.problem == "expected block, got grant"
    assert [(each.policy, each.result, each.condition) for each in failed.deciding] == [
        ("everything", "success", ""), ("Block Linux", "notApplied", "devicePlatform"),
    ]  # fmt: skip
    failed = run({"platform": "linux"}, policies)
    assert failed.problem == "expected grant, got block (blocked_by_access_policy)"
    (decided,) = failed.deciding
    assert (decided.policy, decided.result, decided.detail) == ("Block Linux", "failure", "blocks access")
    assert "'Block Linux': failure" in failed.describe()


def test_a_policy_that_is_named_must_be_the_one() -> None:
    first, second = (make_document("block", name=name) for name in ("first", "second"))
    policies = make_policies(first, second, make_document("block", name="off", state="disabled"))
    for name in ("first", "second"):
        assert run({"expect": "block", "policy": name}, policies).passed
    failed = run({"expect": "block", "policy": "off"}, policies)
    assert failed.problem == "expected block by 'off', but not by that one"
    assert failed.deciding[0].policy == "off" and failed.deciding[0].result == "notEnabled"
    failed = run({"expect": "block", "policy": "third"}, policies)
    assert failed.problem == "expected block by 'third', and there is no policy of that name"
    assert run({"expect": "grant", "policy": "everything"}, make_policies()).passed


def test_network_policies_decide_too() -> None:
    deny = compile_network_policy("deny", {"permission": "deny", "conditions": {"users": [ALICE.id]}})
    policies = make_policies(network=(deny, GRANT))
    assert run({"expect": "block", "policy": "deny", "reason": "network_policy_denies"}, policies).passed
    failed = run({}, policies)
    assert [(each.policy, each.kind) for each in failed.deciding] == [("deny", "network")]
    usage = compile_network_policy(
        "usage", {"permission": "grant", "settings": {"allowed_certificate_oids": ["1.2.3.4"]}}
    )
    assert run({"expect": "block", "policy": "usage"}, make_policies(network=(usage,))).passed
    assert run({"expect": "block", "reason": "no_network_policy"}, Policies()).passed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"certificate": make_certificate(CertificateKind.DEVICE)}, "certificate_wrong_kind"),
        ({"device": None}, "device_unknown"),
        ({"device": replace(LAPTOP, users=frozenset())}, "device_not_assigned"),
        ({"tunnel": None, "certificate": None, "device": replace(LAPTOP, users=frozenset())}, "device_not_assigned"),
    ],
)
def test_a_refusal_that_no_policy_made_passes_only_where_it_is_expected_by_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    failed = run({"expect": "block"}, make_policies(), **changes)
    assert "no policy was asked" in failed.problem
    assert run({"expect": "block", "reason": reason}, make_policies(), **changes).passed


def test_a_sign_in_may_be_some_time_ago() -> None:
    document = make_document("mfa", name="Hourly")
    document["sessionControls"] = {
        "signInFrequency": {"isEnabled": True, "type": "hours", "value": 1, "frequencyInterval": "timeBased",
                            "authenticationType": "primaryAndSecondaryAuthentication"}
    }  # fmt: skip
    policies = make_policies(document)
    methods = ["password", "softwareOath"]
    assert run({"methods": methods}, policies).passed
    assert run({"methods": methods, "signed_in_seconds_ago": 3599}, policies).passed
    late = {"methods": methods, "signed_in_seconds_ago": 3600, "expect": "block", "reason": "sign_in_too_old"}
    assert run(late, policies).passed


def test_a_certificate_and_a_device_tunnel_are_asked_for_as_well() -> None:
    demand = make_policies(make_document("compliantDevice", name="Compliant"))
    certificate: dict[str, Any] = {"tunnel": None, "certificate": None}
    assert run({"for": "certificate", "compliant": True}, demand, **certificate).passed
    assert run(
        {"for": "certificate", "expect": "block", "reason": "no_access_policy"}, Policies(), **certificate
    ).passed
    device = {"name": "laptop", "for": "device-tunnel", "device": LAPTOP.name, "expect": "grant"}
    facts = make_facts(tunnel=TunnelKind.DEVICE, user=None, certificate=make_certificate(CertificateKind.DEVICE))
    assert run_policy_test(compile_policy_test(device), demand, facts).passed


def test_the_error_lists_every_test_that_fails() -> None:
    results = [
        PolicyTestResult(f"t{number}", "block", "grant", problem="expected block, got grant") for number in (1, 2)
    ]
    error = PolicyTestsError(results, mend="mend it")
    assert [place for place, _problem in error.problems] == ["policy test 't1'", "policy test 't2'"]
    assert str(error).startswith("2 problems; the first: policy test 't1': expected block, got grant")
    assert str(PolicyTestsError(results[:1], mend="mend it")).endswith("; nothing was changed: mend it")
