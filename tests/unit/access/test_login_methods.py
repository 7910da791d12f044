"""Which login methods a network policy allows, what is weak in it, and whom names name."""

from dataclasses import replace
from typing import Any

import pytest

from evertunnel.access.decision import Policies, decide_tunnel
from evertunnel.access.documents import PolicyError
from evertunnel.access.facts import Facts
from evertunnel.access.login_names import fold_login_name, list_login_names, names_user
from evertunnel.access.network_policies import USUAL_METHODS, compile_network_policy, find_weakness
from evertunnel.access.recorded_facts import decode_facts, encode_facts
from evertunnel.model import LoginMethod, Reason, TunnelKind
from tests.unit.access.samples import NOW, make_facts

PASSWORDS = [LoginMethod.EAP_MSCHAPV2, LoginMethod.PEAP_EAP_MSCHAPV2]


def decide(settings: dict[str, Any], facts: Facts) -> Reason:
    document = {"permission": "grant", "settings": settings}
    return decide_tunnel(Policies(network=[compile_network_policy("One", document)]), facts).reason


@pytest.mark.parametrize("method", [None, *LoginMethod])
def test_a_policy_that_names_none_allows_certificates_alone(method: LoginMethod | None) -> None:
    expected = Reason.METHOD_NOT_ALLOWED if method in PASSWORDS else Reason.GRANTED
    assert decide({}, make_facts(method=method)) is expected


@pytest.mark.parametrize("allowed", list(LoginMethod))
@pytest.mark.parametrize("method", list(LoginMethod))
def test_what_a_policy_names_is_all_it_allows(allowed: LoginMethod, method: LoginMethod) -> None:
    reason = decide({"authentication_methods": [allowed]}, make_facts(method=method))
    assert reason is (Reason.GRANTED if allowed is method else Reason.METHOD_NOT_ALLOWED)


def test_a_device_tunnel_has_no_method() -> None:
    from evertunnel.model import CertificateKind

    facts = make_facts(tunnel=TunnelKind.DEVICE)
    assert facts.certificate is not None
    facts = replace(facts, certificate=replace(facts.certificate, kind=CertificateKind.DEVICE), user=None)
    assert decide({"authentication_methods": ["eap-mschapv2"]}, facts) is Reason.GRANTED


def test_a_password_needs_a_user_and_no_certificate() -> None:
    settings = {"authentication_methods": ["eap-mschapv2"]}
    facts = make_facts(method=LoginMethod.EAP_MSCHAPV2, certificate=None, device=None)
    assert decide(settings, facts) is Reason.GRANTED
    assert decide(settings, replace(facts, user=None)) is Reason.USER_UNKNOWN
    assert decide(settings, replace(facts, user_denial="left")) is Reason.USER_DENIED
    assert decide(settings, replace(facts, tunnel=TunnelKind.DEVICE)) is Reason.CERTIFICATE_UNKNOWN
    assert decide(settings, replace(facts, method=LoginMethod.EAP_TLS)) is Reason.CERTIFICATE_UNKNOWN


@pytest.mark.parametrize(
    ("bound", "excepted", "reason"),
    [
        (None, False, Reason.GRANTED),  # it is still to come
        (True, False, Reason.GRANTED),
        (False, False, Reason.CRYPTO_BINDING_MISSING),
        (False, True, Reason.GRANTED),
    ],
)
def test_crypto_binding_is_demanded_unless_excepted(bound: bool | None, excepted: bool, reason: Reason) -> None:
    facts = make_facts(method=LoginMethod.PEAP_EAP_TLS, crypto_bound=bound)
    assert decide({"without_crypto_binding": excepted}, facts) is reason


def test_weakness_is_said() -> None:
    assert find_weakness({}) == find_weakness({"authentication_methods": ["eap-tls"]}) == ""
    both = {"authentication_methods": ["eap-tls", "eap-mschapv2"], "without_crypto_binding": True}
    assert find_weakness(both) == "weak: MS-CHAPv2, without crypto-binding"


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"authentication_methods": []}, "$.settings.authentication_methods"),
        ({"authentication_methods": ["eap-md5"]}, "$.settings.authentication_methods[0]"),
        ({"authentication_methods": "eap-tls"}, "$.settings.authentication_methods"),
        ({"without_crypto_binding": "yes"}, "$.settings.without_crypto_binding"),
        ({"without_crypto_binding": 1}, "$.settings.without_crypto_binding"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compile_network_policy("One", {"permission": "grant", "settings": settings})
    assert caught.value.path == path


def test_the_order_of_methods_is_kept() -> None:
    named = ["peap-eap-tls", "eap-tls", "peap-eap-tls"]
    settings = {"authentication_methods": named}
    policy = compile_network_policy("One", {"permission": "grant", "settings": settings})
    assert policy.methods == (LoginMethod.PEAP_EAP_TLS, LoginMethod.EAP_TLS)
    assert USUAL_METHODS == (LoginMethod.EAP_TLS, LoginMethod.PEAP_EAP_TLS)


@pytest.mark.parametrize("method", [LoginMethod.PEAP_EAP_TLS, LoginMethod.EAP_MSCHAPV2])
@pytest.mark.parametrize("bound", [None, True, False])
def test_the_method_is_recorded(method: LoginMethod, bound: bool | None) -> None:
    facts = make_facts(method=method, crypto_bound=bound)
    again = decode_facts(encode_facts(facts), at=NOW, client_address=facts.client_address)
    assert (again.method, again.crypto_bound) == (method, bound)


NAME = "alice@corp.example"


@pytest.mark.parametrize(
    "claimed",
    [NAME, "ALICE@Corp.Example", " alice@corp.example ", "CORP\\alice", "corp.example\\Alice", "", "anonymous",
     "@corp.example", "anonymous@corp.example", "CORP\\anonymous", "corp.example\\"],
)  # fmt: skip
def test_a_name_of_hers_or_of_nobody(claimed: str) -> None:
    assert names_user(claimed, NAME)


@pytest.mark.parametrize(
    "claimed",
    ["alice", "bob@corp.example", "alice@corp", "alice@evil.example", "EVIL\\alice", "CORP\\bob", "host/alice",
     "anonymous@corp", "@evil.example", "\\alice", "CORP\\alice@corp.example", "alice@corp.example@x",
     "example\\alice"],
)  # fmt: skip
def test_a_name_of_somebody_elses(claimed: str) -> None:
    assert not names_user(claimed, NAME)


def test_whoever_is_looked_up_by_a_name_is_named_by_it() -> None:
    assert list_login_names("Alice@Corp.Example") == [NAME, "corp.example\\alice", "corp\\alice"]
    assert all(names_user(name, NAME) and fold_login_name(name) == name for name in list_login_names(NAME))
