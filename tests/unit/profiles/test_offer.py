"""A profile held against a gateway: one made from it meets it, and whatever keeps them apart is named."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from evertunnel.errors import InvalidInputError
from evertunnel.model import LoginMethod, TunnelKind
from evertunnel.profiles.findings import Level
from evertunnel.profiles.lint.linter import lint_profile
from evertunnel.profiles.model import (
    EAPTLS,
    PEAP,
    Authentication,
    CertificateSelection,
    CryptographySuite,
    EntraCompliance,
    MachineCertificate,
    MSCHAPv2,
    OtherEAP,
    Profile,
    Protocol,
    Route,
    Routing,
    Server,
    ServerTrust,
)
from evertunnel.profiles.offer import ACCESS_USAGE, Offer, build_profile, verify_against
from evertunnel.profiles.proposals import ESP_PROPOSALS, IKE_PROPOSALS
from evertunnel.profiles.suites import PRESETS

OFFER = Offer(
    gateway="gw1",
    public_name="vpn.example.com",
    policy_server_names=("radius.example.com",),
    root_hash="00" * 20,
    issuing_hash="11" * 20,
    access_hash="22" * 20,
    device_hash="33" * 20,
    ike_proposals=IKE_PROPOSALS,
    esp_proposals=ESP_PROPOSALS,
    device_networks=("10.20.0.10/32",),
    user_networks=("10.20.0.0/16",),
    dns=("10.20.0.53",),
)
USER = build_profile(OFFER, "Corp VPN", TunnelKind.USER, suffixes=("corp.example",))
DEVICE = build_profile(OFFER, "Corp VPN Device", TunnelKind.DEVICE, suffixes=("corp.example",))
TRUST = ServerTrust(("radius.example.com",), ("00" * 20,))


def list_errors(profile: Profile, offer: Offer = OFFER) -> set[str]:
    return {finding.rule for finding in verify_against(profile, offer) if finding.level is Level.ERROR}


@pytest.mark.parametrize("suite", PRESETS)
@pytest.mark.parametrize("tunnel", TunnelKind)
@pytest.mark.parametrize("networks", [("10.20.0.0/16", "2001:db8::/48"), ("0.0.0.0/0",)])
@pytest.mark.parametrize("long_lived", [True, False])
def test_what_is_made_from_a_gateway_meets_it(
    suite: str, tunnel: TunnelKind, networks: tuple[str, ...], long_lived: bool
) -> None:
    offer = replace(OFFER, user_networks=networks)
    profile = build_profile(offer, "x", tunnel, suffixes=("example.com",), suite=suite, long_lived=long_lived)
    assert list_errors(profile, offer) == set()
    assert [finding for finding in lint_profile(profile) if finding.level is Level.ERROR] == []


def select(*issuers: str, short_lived: bool = True) -> EAPTLS:
    return EAPTLS(TRUST, CertificateSelection(issuers=issuers, usages=(ACCESS_USAGE,) if short_lived else ()))


WEAK = CryptographySuite("SHA196", "AES256", "None", "Group2", "SHA196", "AES256")
APART = [
    ("server-name", replace(USER, servers=(Server("other.example.com"),))),
    ("gateway-protocol", replace(USER, protocols=(Protocol.SSTP,))),
    ("no-proposal", replace(USER, cryptography=None)),
    ("no-proposal", replace(USER, cryptography=WEAK)),
    ("no-proposal", replace(USER, cryptography=replace(PRESETS["rras"], pfs_group="PFS24"))),
    ("no-proposal", replace(USER, cryptography=replace(PRESETS["rras"], dh_group="None"))),
    ("force-not-carried", replace(USER, routing=Routing.FORCE, routes=())),
    ("route-not-carried", replace(USER, routes=(Route(ip_network("10.0.0.0/8")),))),
    ("route-not-carried", replace(DEVICE, routes=USER.routes)),
    ("gateway-method", replace(DEVICE, authentication=USER.authentication)),
    ("gateway-method", replace(USER, authentication=PEAP(MSCHAPv2(), TRUST))),
    ("gateway-method", replace(USER, authentication=OtherEAP(21, "<EapHostConfig/>"))),
    ("gateway-method", replace(USER, authentication=MSCHAPv2())),
    ("device-issuer", replace(DEVICE, authentication=MachineCertificate(issuer="44" * 20))),
    ("root", replace(USER, authentication=EAPTLS(replace(TRUST, roots=("44" * 20,))))),
    ("policy-server-name", replace(USER, authentication=EAPTLS(replace(TRUST, names=("nps.example.com",))))),
    ("issuer", replace(USER, authentication=select("44" * 20))),
    # The issuing authority gives long-lived certificates only, which lack the usage.
    ("issuer", replace(USER, authentication=select(OFFER.issuing_hash))),
    ("entra-not-trusted", replace(USER, entra=EntraCompliance())),
]


@pytest.mark.parametrize(
    ("method", "authentication"),
    [
        (LoginMethod.PEAP_EAP_TLS, PEAP(EAPTLS(TRUST), TRUST)),
        (LoginMethod.PEAP_EAP_MSCHAPV2, PEAP(MSCHAPv2(), TRUST)),
        (LoginMethod.EAP_MSCHAPV2, MSCHAPv2()),
        (LoginMethod.EAP_TLS, EAPTLS(TRUST)),
    ],
)
def test_a_method_fits_where_a_network_policy_allows_it(method: LoginMethod, authentication: Authentication) -> None:
    profile = replace(USER, authentication=authentication)
    assert list_errors(profile, replace(OFFER, methods=(method,))) == set()
    others = tuple(other for other in LoginMethod if other is not method)
    (found,) = (each for each in verify_against(profile, replace(OFFER, methods=others)) if each.level is Level.ERROR)
    assert (found.rule, method.value in found.what, others[0].value in found.mend) == ("gateway-method", True, True)


@pytest.mark.parametrize(("rule", "profile"), APART, ids=[f"{rule}-{at}" for at, (rule, _) in enumerate(APART)])
def test_what_keeps_them_apart_is_named(rule: str, profile: Profile) -> None:
    found = [finding for finding in verify_against(profile, OFFER) if finding.level is Level.ERROR]
    assert rule in {finding.rule for finding in found}
    assert all(finding.what and finding.why and finding.mend for finding in found)


@pytest.mark.parametrize(
    "method",
    [
        select(OFFER.access_hash),
        select(OFFER.root_hash),
        select(OFFER.issuing_hash, short_lived=False),
        EAPTLS(replace(TRUST, names=("radius.*",))),
    ],
)
def test_what_does_not_keep_them_apart_is_let_be(method: EAPTLS) -> None:
    assert list_errors(replace(USER, authentication=method)) == set()
    assert list_errors(replace(USER, servers=(Server("VPN.Example.com"),))) == set()
    assert list_errors(replace(DEVICE, authentication=MachineCertificate(issuer="33" * 20))) == set()


def test_access_authorities_that_sign_soon_are_named_before_they_do() -> None:
    staged = replace(OFFER, staged_access_hashes=("66" * 20,))
    profile = build_profile(staged, "Corp", TunnelKind.USER)
    assert profile.selection is not None
    assert profile.selection.issuers == (OFFER.access_hash, "66" * 20)
    assert [finding.rule for finding in verify_against(profile, staged)] == []
    (finding,) = [finding for finding in verify_against(USER, staged) if finding.rule == "staged-issuer"]
    assert finding.level is not Level.ERROR and "66" * 20 in finding.mend
    # It signs, and the one before is trusted a while: only who never learned of it is left out.
    active = replace(OFFER, access_hash="66" * 20, retired_access_hashes=(OFFER.access_hash,))
    assert list_errors(profile, active) == set()
    assert list_errors(USER, active) == {"issuer"}
    # By the root all of them are found.
    by_root = replace(USER, authentication=select(OFFER.root_hash))
    assert "staged-issuer" not in {finding.rule for finding in verify_against(by_root, staged)}


CHANGES = [
    ("server-name", replace(OFFER, public_name="new.example.com")),
    ("no-proposal", replace(OFFER, ike_proposals=("aes256-sha256-modp2048",))),
    ("route-not-carried", replace(OFFER, user_networks=("10.30.0.0/16",))),
    ("root", replace(OFFER, root_hash="55" * 20)),
    ("issuer", replace(OFFER, access_hash="55" * 20)),
    ("policy-server-name", replace(OFFER, policy_server_names=("new.example.com",))),
]


@pytest.mark.parametrize(("rule", "offer"), CHANGES, ids=[rule for rule, _ in CHANGES])
def test_a_change_of_the_gateway_invalidates_its_profiles(rule: str, offer: Offer) -> None:
    assert rule in list_errors(USER, offer)


def test_a_suite_that_the_gateway_does_not_offer_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="--suite"):
        build_profile(replace(OFFER, ike_proposals=()), "x", TunnelKind.USER)
    with pytest.raises(InvalidInputError, match="--suite"):
        build_profile(OFFER, "x", TunnelKind.USER, suite="weak")
