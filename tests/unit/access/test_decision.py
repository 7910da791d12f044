"""The decision: what is asked in which order, what refuses, and that nothing grants by default."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from evertunnel.access.conditional.policies import compile_access_policy
from evertunnel.access.conditional.sign_in import Person
from evertunnel.access.decision import Policies, build_sign_in, decide_certificate, decide_tunnel
from evertunnel.access.facts import Facts, SignInFacts
from evertunnel.access.network_policies import compile_network_policy
from evertunnel.model import CertificateKind, CertificateStatus, Outcome, Reason, TunnelKind
from tests.unit.access.samples import (
    ALICE,
    CONDITIONAL_ACCESS,
    GATEWAY,
    LAPTOP,
    NOW,
    make_certificate,
    make_document,
    say,
)
from tests.unit.access.samples import make_facts as ask

COMPLIANT = say("true")
GRANT: dict[str, Any] = {"permission": "grant"}
DENY: dict[str, Any] = {"permission": "deny"}
DEMAND = make_document("compliantDevice", name="demand")


def make_policies(*network: dict[str, Any], access: tuple[dict[str, Any], ...] = ()) -> Policies:
    return Policies(
        [compile_network_policy(f"n{index}", document) for index, document in enumerate(network)],
        [compile_access_policy(document, {}) for document in access],
    )


EVERYTHING = make_policies(GRANT)


def ask_device(**changes: Any) -> Facts:
    certificate = make_certificate(CertificateKind.DEVICE)
    return ask(tunnel=TunnelKind.DEVICE, user=None, certificate=certificate, **changes)


def test_no_policy_means_no() -> None:
    decision = decide_tunnel(Policies(), ask(COMPLIANT))
    assert (decision.outcome, decision.reason) == (Outcome.REFUSED, Reason.NO_NETWORK_POLICY)


def test_conditional_access_alone_grants_no_tunnel() -> None:
    decision = decide_tunnel(make_policies(access=(DEMAND,)), ask(COMPLIANT))
    assert decision.reason is Reason.NO_NETWORK_POLICY


def test_a_network_policy_that_grants_is_enough_when_no_other_policy_applies() -> None:
    decision = decide_tunnel(EVERYTHING, ask())
    assert decision.granted
    assert [(result.policy, result.result) for result in decision.results] == [("n0", "success")]


def test_the_first_match_decides_and_later_policies_are_not_tried() -> None:
    decision = decide_tunnel(make_policies(GRANT, DENY), ask())
    assert decision.granted
    assert len(decision.results) == 1


def test_deny_above_grant_denies() -> None:
    decision = decide_tunnel(make_policies(DENY, GRANT), ask())
    assert decision.reason is Reason.NETWORK_POLICY_DENIES
    assert [(result.policy, result.result) for result in decision.results] == [("n0", "failure")]


def test_policies_that_do_not_match_or_are_off_are_passed_over_and_told() -> None:
    off = DENY | {"enabled": False}
    other = DENY | {"conditions": {"users": ["somebody else"]}}
    decision = decide_tunnel(make_policies(off, other, GRANT), ask())
    assert decision.granted
    assert [result.result for result in decision.results] == ["notEnabled", "notApplied", "success"]


def test_a_policy_that_is_off_grants_nothing() -> None:
    assert decide_tunnel(make_policies(GRANT | {"enabled": False}), ask()).reason is Reason.NO_NETWORK_POLICY


def test_a_demanded_usage_that_is_missing_refuses_and_no_later_policy_helps() -> None:
    demanding = GRANT | {"settings": {"allowed_certificate_oids": [CONDITIONAL_ACCESS]}}
    plain = make_certificate(CertificateKind.USER)
    facts = ask(COMPLIANT, certificate=plain, certificate_usages=frozenset({"1.3.6.1.5.5.7.3.2"}))
    decision = decide_tunnel(make_policies(demanding, GRANT), facts)
    assert decision.reason is Reason.CERTIFICATE_USAGE_DEMANDED
    assert CONDITIONAL_ACCESS in decision.detail


def test_one_of_several_demanded_usages_is_enough() -> None:
    demanding = GRANT | {"settings": {"allowed_certificate_oids": ["1.2.3", CONDITIONAL_ACCESS]}}
    assert decide_tunnel(make_policies(demanding), ask()).granted


def test_settings_of_the_policy_that_grants_are_handed_on() -> None:
    policy = GRANT | {"settings": {"session_timeout_seconds": 600}}
    assert decide_tunnel(make_policies(policy), ask()).settings == {"session_timeout_seconds": 600}


def test_a_refusal_hands_on_no_settings() -> None:
    policy = DENY | {"settings": {"session_timeout_seconds": 600}}
    assert decide_tunnel(make_policies(policy), ask()).settings == {}


def test_conditional_access_is_asked_after_the_network_policy_granted() -> None:
    policies = make_policies(GRANT, access=(DEMAND,))
    assert decide_tunnel(policies, ask(COMPLIANT)).granted
    refused = decide_tunnel(policies, ask())
    assert refused.reason is Reason.DEVICE_NOT_COMPLIANT
    assert [(result.kind, result.result) for result in refused.results] == [
        ("network", "success"), ("access", "failure"),
    ]  # fmt: skip


REFUSED: dict[str, tuple[Facts, Reason]] = {
    "a denied user": (ask(user_denial="left"), Reason.USER_DENIED),
    "a denied device": (ask(device_denial="stolen"), Reason.DEVICE_DENIED),
    "a disabled user": (ask(user=replace(ALICE, enabled=False)), Reason.USER_DISABLED),
    "a disabled device": (ask(device=replace(LAPTOP, enabled=False)), Reason.DEVICE_DISABLED),
    "no certificate": (ask(certificate=None), Reason.CERTIFICATE_UNKNOWN),
    "no tunnel": (ask(tunnel=None), Reason.CERTIFICATE_UNKNOWN),
    "a certificate without owner": (ask(user=None), Reason.USER_UNKNOWN),
    "a gateway that is disabled": (ask(gateway=replace(GATEWAY, enabled=False)), Reason.GATEWAY_DISABLED),
    "a device certificate without device": (ask_device(device=None), Reason.DEVICE_UNKNOWN),
    "a short-lived certificate without device": (
        ask(device=None, certificate=make_certificate(device_id=None)), Reason.DEVICE_UNKNOWN,
    ),
    "a user's certificate for a device that is gone": (
        ask(device=None, certificate=make_certificate(CertificateKind.USER)), Reason.DEVICE_UNKNOWN,
    ),
    "a short-lived certificate on a device taken away": (
        ask(device=replace(LAPTOP, users=frozenset({"u2"}))), Reason.DEVICE_NOT_ASSIGNED,
    ),
    "a certificate on hold": (
        ask(certificate=make_certificate(status=CertificateStatus.ON_HOLD)), Reason.CERTIFICATE_ON_HOLD,
    ),
    "a revoked certificate": (
        ask(certificate=make_certificate(status=CertificateStatus.REVOKED)), Reason.CERTIFICATE_REVOKED,
    ),
    "a certificate that was never signed": (
        ask(certificate=make_certificate(status=CertificateStatus.GRANTED)), Reason.CERTIFICATE_UNKNOWN,
    ),
    "a certificate at its end": (ask(certificate=make_certificate(not_after=NOW)), Reason.CERTIFICATE_EXPIRED),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_no_policy_helps(what: str) -> None:
    facts, reason = REFUSED[what]
    decision = decide_tunnel(EVERYTHING, facts)
    assert (decision.outcome, decision.reason, decision.results) == (Outcome.REFUSED, reason, ())
    assert decision.detail


@pytest.mark.parametrize("kind", list(CertificateKind))
@pytest.mark.parametrize("tunnel", list(TunnelKind))
def test_each_kind_of_certificate_opens_its_own_tunnel_and_no_other(kind: CertificateKind, tunnel: TunnelKind) -> None:
    user = None if tunnel is TunnelKind.DEVICE else ALICE
    decision = decide_tunnel(EVERYTHING, ask(tunnel=tunnel, user=user, certificate=make_certificate(kind)))
    own = {CertificateKind.USER, CertificateKind.SHORT_LIVED} if tunnel is TunnelKind.USER else {CertificateKind.DEVICE}
    assert decision.granted == (kind in own)
    if kind not in own:
        assert decision.reason is Reason.CERTIFICATE_WRONG_KIND


@pytest.mark.parametrize(("before_end", "granted"), [(timedelta(microseconds=1), True), (timedelta(0), False)])
def test_a_certificate_counts_until_its_last_microsecond(before_end: timedelta, granted: bool) -> None:
    assert decide_tunnel(EVERYTHING, ask(certificate=make_certificate(not_after=NOW + before_end))).granted is granted


def test_an_established_tunnel_outlives_its_certificate() -> None:
    over = make_certificate(not_after=NOW - timedelta(days=1))
    assert decide_tunnel(EVERYTHING, ask(certificate=over, established=True)).granted


@pytest.mark.parametrize("what", [name for name in REFUSED if name != "a certificate at its end"])
def test_an_established_tunnel_outlives_nothing_else(what: str) -> None:
    facts, reason = REFUSED[what]
    assert decide_tunnel(EVERYTHING, replace(facts, established=True)).reason is reason


def test_a_long_lived_certificate_asks_for_no_assignment() -> None:
    certificate = make_certificate(CertificateKind.USER)
    assert decide_tunnel(EVERYTHING, ask(certificate=certificate, device=replace(LAPTOP, users=frozenset()))).granted


def test_a_device_tunnel_is_refused_for_its_denied_device() -> None:
    assert decide_tunnel(EVERYTHING, ask_device()).granted
    assert decide_tunnel(EVERYTHING, ask_device(device_denial="stolen")).reason is Reason.DEVICE_DENIED


def test_a_denial_is_told_before_anything_else_that_is_wrong() -> None:
    facts = ask(user_denial="left", user=replace(ALICE, enabled=False), certificate=None)
    decision = decide_tunnel(Policies(), facts)
    assert (decision.reason, decision.detail) == (Reason.USER_DENIED, "the user is denied: left")


def test_a_certificate_needs_a_policy_that_vouches() -> None:
    facts = ask(COMPLIANT, tunnel=None, certificate=None)
    assert decide_certificate(make_policies(access=(DEMAND,)), facts).granted
    assert decide_certificate(EVERYTHING, facts).reason is Reason.NO_ACCESS_POLICY


@pytest.mark.parametrize("state", ["disabled", "enabledForReportingButNotEnforced"])
def test_a_policy_that_is_not_on_does_not_vouch_for_a_certificate(state: str) -> None:
    policies = make_policies(access=(make_document("compliantDevice", state=state),))
    decision = decide_certificate(policies, ask(COMPLIANT, tunnel=None))
    assert decision.reason is Reason.NO_ACCESS_POLICY
    assert len(decision.results) == 1


@pytest.mark.parametrize("what", ["a denied user", "a denied device", "a disabled user", "a disabled device"])
def test_no_certificate_for_what_is_denied_or_disabled(what: str) -> None:
    facts, reason = REFUSED[what]
    policies = make_policies(access=(DEMAND,))
    with_compliance = replace(facts, device_facts={"compliant": (COMPLIANT,)})
    assert decide_certificate(policies, with_compliance).reason is reason


def test_no_certificate_while_one_policy_that_applies_is_not_satisfied() -> None:
    policies = make_policies(access=(DEMAND, make_document("block", name="block")))
    assert decide_certificate(policies, ask(COMPLIANT)).reason is Reason.BLOCKED_BY_ACCESS_POLICY
    assert decide_certificate(make_policies(access=(DEMAND,)), ask()).reason is Reason.DEVICE_NOT_COMPLIANT


FREQUENCY = {"isEnabled": True, "type": "hours", "value": 1, "frequencyInterval": "timeBased"}
OFTEN = {**make_document("compliantDevice", name="often"), "sessionControls": {"signInFrequency": FREQUENCY}}
TEN_MINUTES_AGO = NOW - timedelta(minutes=10)


@pytest.mark.parametrize(("timeout", "bound"), [(None, 3000), (600, 600), (9000, 3000)])
def test_a_tunnel_ends_when_its_person_must_sign_in_again(timeout: int | None, bound: int) -> None:
    grant = GRANT if timeout is None else GRANT | {"settings": {"session_timeout_seconds": timeout}}
    decision = decide_tunnel(make_policies(grant, access=(OFTEN,)), ask(COMPLIANT, signed_in_at=TEN_MINUTES_AGO))
    assert (decision.settings, decision.lifetime_seconds) == ({"session_timeout_seconds": bound}, 3000)


def test_a_certificate_lasts_until_its_person_must_sign_in_again() -> None:
    decision = decide_certificate(
        make_policies(access=(OFTEN,)), ask(COMPLIANT, tunnel=None, signed_in_at=TEN_MINUTES_AGO)
    )
    assert (decision.granted, decision.lifetime_seconds) == (True, 3000)


def test_whoever_must_sign_in_again_is_refused_also_while_the_tunnel_is_up() -> None:
    for facts in (ask(COMPLIANT), ask(COMPLIANT, signed_in_at=NOW - timedelta(hours=1))):
        for established in (False, True):
            decision = decide_tunnel(make_policies(GRANT, access=(OFTEN,)), replace(facts, established=established))
            assert decision.reason is Reason.SIGN_IN_TOO_OLD


def test_what_nobody_told_stays_unknown() -> None:
    built = build_sign_in(ask())
    assert (built.platform, built.country, built.sign_in_risk, built.user_risk) == (None, None, None, None)
    assert (built.authenticated_at, built.methods, built.compliant.value, built.domain_joined.value) == (
        None, (), None, None,
    )  # fmt: skip
    assert built.user is not None
    assert (built.user.roles, built.user.kind) == (None, None)
    assert build_sign_in(ask(device=None)).device is None


def test_a_sign_in_is_built_from_what_is_known() -> None:
    joined = replace(say("true"), name="domain_joined")
    told = SignInFacts(
        platform="windows", country="DE", sign_in_risk="low", roles=frozenset({"r"}), kind="member",
        device={"deviceId": "entra", "displayName": "forged", "isCompliant": True, "trustType": "ServerAD"},
    )  # fmt: skip
    facts = ask(client_address="192.0.2.7[4500]", sign_in=told, signed_in_at=TEN_MINUTES_AGO)
    facts = replace(facts, device_facts={"compliant": (say("false"),), "domain_joined": (joined,)}, established=True)
    built = build_sign_in(facts)
    assert (str(built.address), built.platform, built.country, built.sign_in_risk) == (
        "192.0.2.7", "windows", "DE", "low",
    )  # fmt: skip
    assert built.user == Person("u1", "alice@corp.example", frozenset({"g1"}), frozenset({"r"}), "member")
    # The name and whether it is compliant are ours to say.
    assert built.device == {
        "deviceId": "entra", "displayName": LAPTOP.name, "isCompliant": False, "trustType": "ServerAD",
    }  # fmt: skip
    assert (built.compliant.value, built.domain_joined.value) == (False, True)
    assert (built.methods, built.authenticated_at) == ((), TEN_MINUTES_AGO)
    assert (built.tunnel, built.established) == (True, True)
    assert build_sign_in(replace(facts, tunnel=None)).tunnel is False


@pytest.mark.parametrize(
    ("methods", "signed_in_at", "granted"),
    [
        (("password", "totp"), NOW, True),
        (("password",), NOW, False),
        (("totp",), NOW, False),
        (("password", "horoscope"), NOW, False),
        (("password", "totp"), None, False),
        ((), None, False),
    ],
    ids=["both", "password", "code", "a method nobody checks", "nobody knows when", "nobody signed in"],
)
def test_a_second_factor_is_a_code_beside_the_password(
    methods: tuple[str, ...], signed_in_at: datetime | None, granted: bool
) -> None:
    policies = make_policies(GRANT, access=(make_document("mfa"),))
    decision = decide_tunnel(policies, ask(authentication_methods=methods, signed_in_at=signed_in_at))
    assert decision.reason is (Reason.GRANTED if granted else Reason.MFA_REQUIRED)
    assert (
        decide_certificate(policies, ask(authentication_methods=methods, signed_in_at=signed_in_at)).granted is granted
    )
