"""Authentication strengths and sign-in frequency: which methods are enough, and how long a sign-in counts."""

from datetime import timedelta
from typing import Any

import pytest

from evertunnel.access.conditional.sign_in import MethodUse, SignIn
from evertunnel.access.conditional.strengths import BUILT_IN, compile_strength
from evertunnel.access.documents import PolicyError
from evertunnel.model import Reason
from tests.unit.access.conditional.samples import FIDO2, PASSWORD, evaluate, make_policy, make_sign_in
from tests.unit.access.samples import NOW

MFA, PASSWORDLESS, RESISTANT = (BUILT_IN[f"00000000-0000-0000-0000-{number:012}"] for number in (2, 3, 4))


def use(*names: str) -> tuple[MethodUse, ...]:
    return tuple(MethodUse(name, NOW) for name in names)


# Methods, and the numbers of the built-in strengths they satisfy (reference: 1.5).
COMBINATIONS: list[tuple[tuple[str, ...], tuple[bool, bool, bool]]] = [
    (("windowsHelloForBusiness",), (True, True, True)),
    (("fido2",), (True, True, True)),
    (("x509CertificateMultiFactor",), (True, True, True)),
    (("deviceBasedPush",), (True, True, False)),
    (("temporaryAccessPassOneTime",), (True, False, False)),
    (("temporaryAccessPassMultiUse",), (True, False, False)),
    *((("password", second), (True, False, False)) for second in
      ("microsoftAuthenticatorPush", "softwareOath", "hardwareOath", "x509CertificateSingleFactor", "sms", "voice")),
    (("password", "x509CertificateMultiFactor"), (True, True, True)),
    (("federatedMultiFactor",), (True, False, False)),
    *((("federatedSingleFactor", second), (True, False, False)) for second in
      ("microsoftAuthenticatorPush", "softwareOath", "hardwareOath", "sms", "voice")),
    (("password",), (False, False, False)),
    (("password", "federatedSingleFactor"), (False, False, False)),
    (("sms", "voice"), (False, False, False)),
    (("x509CertificateSingleFactor",), (False, False, False)),
    (("federatedSingleFactor", "x509CertificateSingleFactor"), (False, False, False)),
    (("password", "email"), (False, False, False)),
    ((), (False, False, False)),
]  # fmt: skip


@pytest.mark.parametrize(("names", "met"), COMBINATIONS)
def test_the_strengths_that_are_built_in(names: tuple[str, ...], met: tuple[bool, bool, bool]) -> None:
    assert tuple(strength.is_met(use(*names)) for strength in (MFA, PASSWORDLESS, RESISTANT)) == met


def make_strength(*combinations: str, **limits: Any) -> dict[str, Any]:
    kind = limits.pop("kind", None)
    configuration = {"@odata.type": f"#microsoft.graph.{kind}", **limits}
    return {
        "id": "s",
        "displayName": "custom",
        "policyType": "custom",
        "requirementsSatisfied": "mfa",
        "allowedCombinations": list(combinations),
        "combinationConfigurations": [configuration] if kind else [],
    }


X509, FIDO = "x509CertificateCombinationConfiguration", "fido2CombinationConfiguration"
LIMITED: list[tuple[dict[str, Any], MethodUse, bool]] = [
    (make_strength("fido2", kind=FIDO, allowedAAGUIDs=["AA-BB"]), MethodUse("fido2", NOW, aaguid="aabb"), True),
    (make_strength("fido2", kind=FIDO, allowedAAGUIDs=["AA-BB"]), MethodUse("fido2", NOW, aaguid="aabc"), False),
    (make_strength("fido2", kind=FIDO, allowedAAGUIDs=["AA-BB"]), FIDO2, False),
    (make_strength("fido2", kind=FIDO), FIDO2, False),
    (
        make_strength("fido2", "sms", kind=FIDO, allowedAAGUIDs=["aa"], appliesToCombinations=["sms"]), FIDO2, True,
    ),
    *((
        make_strength("x509CertificateMultiFactor", kind=X509, allowedIssuerSkis=["AB:CD"],
                      allowedPolicyOIDs=["1.2.3", "1.2.4"]),
        MethodUse("x509CertificateMultiFactor", NOW, issuer_ski=ski, policy_oids=frozenset(oids)), met,
    ) for ski, oids, met in (("abcd", ["1.2.4"], True), ("abcd", ["1.2.5"], False), ("abce", ["1.2.3"], False),
                             ("", ["1.2.3"], False), ("abcd", [], False))),
]  # fmt: skip


@pytest.mark.parametrize(("document", "used", "met"), LIMITED)
def test_a_custom_strength_may_ask_more_of_a_method(document: dict[str, Any], used: MethodUse, met: bool) -> None:
    assert compile_strength(document).is_met((used,)) is met
    assert not compile_strength(document).is_met(use("password"))


def test_a_combination_needs_all_its_methods_and_a_strength_any_combination() -> None:
    strength = compile_strength(make_strength("password,hardwareOath", "fido2"))
    words = [strength.is_met(use(*names)) for names in (("password",), ("hardwareOath",), ("fido2",),
                                                        ("hardwareOath", "password"))]  # fmt: skip
    assert words == [False, False, True, True]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("$", []),
        ("$.allowedCombinations", make_strength()),
        ("$.allowedCombinations", make_strength(*["fido2"] * 201)),
        ("$.allowedCombinations[1]", make_strength("fido2", "password,,sms")),
        ("$.allowedCombinations[0]", make_strength("Fido2")),
        ("$.displayName", make_strength("fido2") | {"displayName": 7}),
        ("$.combinationConfigurations", make_strength("fido2") | {"combinationConfigurations": {"x": 1}}),
        ("$.combinationConfigurations[0]", make_strength("fido2") | {"combinationConfigurations": ["x"]}),
        ("$.combinationConfigurations[0].@odata.type", make_strength("fido2") | {"combinationConfigurations": [{}]}),
        ("$.combinationConfigurations[0].allowedAAGUIDs", make_strength("fido2", kind=FIDO, allowedAAGUIDs="x")),
        (
            "$.combinationConfigurations[0].allowedAAGUIDs[1]",
            make_strength("fido2", kind=FIDO, allowedAAGUIDs=["aa", "-"]),
        ),
        (
            "$.combinationConfigurations[0].allowedIssuerSkis[0]",
            make_strength("x509CertificateMultiFactor", kind=X509, allowedIssuerSkis=["Contoso"]),
        ),
    ],
)
def test_a_wrong_strength_is_refused_at_its_place(path: str, document: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        compile_strength(document)
    assert caught.value.path == path


def test_a_policy_names_a_strength_we_know_or_holds_it_itself() -> None:
    held = make_policy(authenticationStrength=make_strength("password,sms"))
    assert evaluate(make_sign_in(), held).satisfied == 1
    found = evaluate(make_sign_in(methods=(PASSWORD,)), held)
    assert found.refusal is not None and found.refusal[0] is Reason.AUTHENTICATION_TOO_WEAK
    with pytest.raises(PolicyError, match="no authentication strength we know"):
        evaluate(make_sign_in(), make_policy(authenticationStrength={"id": "s"}))


HOURLY = {"isEnabled": True, "type": "hours", "value": 1, "frequencyInterval": "timeBased",
          "authenticationType": "primaryAndSecondaryAuthentication"}  # fmt: skip
EVERY_TIME = {"isEnabled": True, "frequencyInterval": "everyTime", "type": None, "value": None,
              "authenticationType": "primaryAndSecondaryAuthentication"}  # fmt: skip
SECOND = "secondaryAuthentication"


def sign_in(seconds_ago: float | None, **changes: Any) -> SignIn:
    at = None if seconds_ago is None else NOW - timedelta(seconds=seconds_ago)
    return make_sign_in(**{"authenticated_at": at, "methods": (PASSWORD,)} | changes)


def find_lifetime(found: SignIn, *frequencies: dict[str, Any]) -> int | None:
    """Seconds, or 0 when refused for it."""
    documents = [make_policy("compliantDevice", name=str(index), sessionControls={"signInFrequency": frequency})
                 for index, frequency in enumerate(frequencies)]  # fmt: skip
    evaluation = evaluate(found, *documents)
    if evaluation.refusal is not None:
        assert evaluation.refusal[0] is Reason.SIGN_IN_TOO_OLD
        return 0
    return evaluation.lifetime_seconds


@pytest.mark.parametrize(
    ("seconds_ago", "lifetime"),
    [(0, 3600), (60, 3540), (3598.5, 1), (3599, 1), (3599.5, 0), (3600, 0), (90_000, 0), (-60, 3600), (-301, 0),
     (None, 0)],
)  # fmt: skip
def test_a_sign_in_counts_as_long_as_the_policy_says(seconds_ago: float | None, lifetime: int) -> None:
    assert find_lifetime(sign_in(seconds_ago), HOURLY) == lifetime


def test_days_are_longer_than_hours_and_the_shortest_of_all_policies_counts() -> None:
    daily = HOURLY | {"type": "days"}
    assert find_lifetime(sign_in(0), daily) == 86_400
    assert find_lifetime(sign_in(0), daily, HOURLY, daily) == 3600
    assert find_lifetime(sign_in(7200), daily, HOURLY) == 0


def test_a_year_is_the_longest() -> None:
    assert find_lifetime(sign_in(0), HOURLY | {"type": "days", "value": 365}) == 365 * 86_400
    for wrong in ({"type": "days", "value": 366}, {"value": 365 * 24 + 1}, {"value": 0}, {"value": -1}):
        with pytest.raises(PolicyError, match="at most 365 days"):
            find_lifetime(sign_in(0), HOURLY | wrong)


def test_without_sign_in_frequency_there_is_no_bound() -> None:
    found = evaluate(sign_in(None), make_policy("compliantDevice"))
    assert (found.refusal, found.lifetime_seconds) == (None, None)


@pytest.mark.parametrize(
    ("seconds_ago", "certificate", "tunnel", "established"),
    [(0, 300, None, None), (299, 1, None, None), (300, 0, 0, None), (90_000, 0, 0, None), (None, 0, 0, None)],
)
def test_every_time_demands_a_sign_in_of_now_and_leaves_a_tunnel_that_is_up_alone(
    seconds_ago: float | None, certificate: int, tunnel: int | None, established: int | None
) -> None:
    assert find_lifetime(sign_in(seconds_ago), EVERY_TIME) == certificate
    assert find_lifetime(sign_in(seconds_ago, tunnel=True), EVERY_TIME) == tunnel
    assert find_lifetime(sign_in(seconds_ago, tunnel=True, established=True), EVERY_TIME) == established


def test_a_tunnel_that_is_up_ends_when_the_sign_in_is_too_old() -> None:
    assert find_lifetime(sign_in(3600, tunnel=True, established=True), HOURLY) == 0


@pytest.mark.parametrize(
    ("first_ago", "second_ago", "both", "second_only"),
    [(60, 1800, 1800, 1800), (1800, 60, 1800, 3540), (60, 7200, 0, 0), (7200, 60, 0, 3540)],
)
def test_it_may_count_from_the_second_factor(first_ago: int, second_ago: int, both: int, second_only: int) -> None:
    found = sign_in(first_ago, methods=(PASSWORD, MethodUse("sms", NOW - timedelta(seconds=second_ago))))
    assert find_lifetime(found, HOURLY) == both
    assert find_lifetime(found, HOURLY | {"authenticationType": SECOND}) == second_only


def test_a_second_factor_that_never_was_is_too_old() -> None:
    document = make_policy(
        "compliantDevice", sessionControls={"signInFrequency": HOURLY | {"authenticationType": SECOND}}
    )
    assert evaluate(sign_in(0), document).error_code == 50078
    old = make_policy("compliantDevice", sessionControls={"signInFrequency": HOURLY})
    assert evaluate(sign_in(7200), old).error_code == 70043
    report_only = evaluate(sign_in(7200), old | {"state": "enabledForReportingButNotEnforced"})
    assert report_only.results[0].result == "reportOnlyInterrupted"
    assert report_only.lifetime_seconds is None
