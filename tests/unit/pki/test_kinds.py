"""What each kind may be is a contract with Windows and strongSwan; it is written out here a second time."""

import pytest

from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.kinds import AUTHORITY_USAGES, KINDS

SERVER = "1.3.6.1.5.5.7.3.1"
CLIENT = "1.3.6.1.5.5.7.3.2"
OCSP = "1.3.6.1.5.5.7.3.9"
IKE = "1.3.6.1.5.5.8.2.2"
CONDITIONAL_ACCESS = "1.3.6.1.4.1.311.87"
DAY = 86400

WANTED = {
    CertificateKind.GATEWAY: ([Authority.ISSUING], [SERVER, IKE], 365 * DAY, 398 * DAY, True),
    CertificateKind.POLICY_SERVER: ([Authority.ISSUING], [SERVER], 365 * DAY, 398 * DAY, True),
    CertificateKind.USER: ([Authority.ISSUING], [CLIENT], 365 * DAY, 1098 * DAY, True),
    CertificateKind.DEVICE: ([Authority.DEVICE], [CLIENT], 365 * DAY, 1098 * DAY, False),
    CertificateKind.SHORT_LIVED: ([Authority.ACCESS], [CLIENT, CONDITIONAL_ACCESS], 3600, 3600, False),
    CertificateKind.OCSP_SIGNER: (
        [Authority.ACCESS, Authority.DEVICE, Authority.ISSUING], [OCSP], 7 * DAY, 7 * DAY, False,
    ),
    CertificateKind.AGENT: ([Authority.ISSUING], [CLIENT], 365 * DAY, 398 * DAY, False),
    CertificateKind.RADSEC: ([Authority.ISSUING], [CLIENT], 365 * DAY, 398 * DAY, False),
    CertificateKind.RADSEC_SERVER: ([Authority.ISSUING], [SERVER], 365 * DAY, 398 * DAY, True),
    CertificateKind.AGENT_SERVER: ([Authority.ISSUING], [SERVER], 365 * DAY, 398 * DAY, False),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_a_kind_is_what_it_was_agreed_to_be(kind: CertificateKind) -> None:
    rules = KINDS[kind]
    found = (
        sorted(rules.authorities),
        [usage.dotted_string for usage in rules.usages],
        rules.default_lifetime_seconds,
        rules.ceiling_lifetime_seconds,
        rules.states_revocation,
    )
    assert found == WANTED[kind]


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_every_kind_has_a_ceiling_an_hour(kind: CertificateKind) -> None:
    assert 0 < KINDS[kind].ceiling_per_hour <= 50_000


def test_the_root_signs_no_leaf_of_any_kind() -> None:
    assert all(Authority.ROOT not in rules.authorities for rules in KINDS.values())
    assert Authority.ROOT not in AUTHORITY_USAGES


def test_only_the_device_authority_signs_devices_and_signs_nothing_else_but_its_responder() -> None:
    kinds = {kind for kind, rules in KINDS.items() if Authority.DEVICE in rules.authorities}
    assert kinds == {CertificateKind.DEVICE, CertificateKind.OCSP_SIGNER}


def test_only_short_lived_certificates_carry_the_usage_of_conditional_access() -> None:
    kinds = {kind for kind, (_, usages, *_rest) in WANTED.items() if CONDITIONAL_ACCESS in usages}
    assert kinds == {CertificateKind.SHORT_LIVED}


def test_an_authority_may_sign_the_usages_of_its_kinds_and_no_more() -> None:
    found = {authority: {usage.dotted_string for usage in usages} for authority, usages in AUTHORITY_USAGES.items()}
    assert found == {
        Authority.ISSUING: {SERVER, IKE, CLIENT, OCSP},
        Authority.DEVICE: {CLIENT, OCSP},
        Authority.ACCESS: {CLIENT, CONDITIONAL_ACCESS, OCSP},
    }
