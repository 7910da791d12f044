"""Certificate kinds: which authority signs each, for which usages, for how long at most, and how many an hour."""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.x509 import ObjectIdentifier

from evertunnel.model import Authority, CertificateKind
from evertunnel.pki import oids

HOUR = 3600
DAY = 24 * HOUR
# What agents dial by whatever address, and verify: nobody's public name, so no gateway's certificate will do.
AGENT_SERVER_NAME = "agents.evertunnel.internal"

# Conditional access may bound a short-lived certificate further, but gives none that would end while it is put to use.
# Below the five minutes that a sign-in demanded every time is good for.
SHORT_LIVED_FLOOR_SECONDS = 120


@dataclass(frozen=True, slots=True)
class KindRules:
    """What a certificate of a kind is. The ceilings bound what the signer signs, whoever asks."""

    authorities: frozenset[Authority]
    usages: tuple[ObjectIdentifier, ...]
    default_lifetime_seconds: int
    ceiling_lifetime_seconds: int
    ceiling_per_hour: int
    states_revocation: bool  # carries a CRL distribution point and an OCSP address
    only_name: str = ""  # of all certificates these carry this name, and they no other


KINDS: dict[CertificateKind, KindRules] = {
    CertificateKind.GATEWAY: KindRules(
        authorities=frozenset({Authority.ISSUING}),
        usages=(oids.SERVER_AUTHENTICATION, oids.IKE_INTERMEDIATE),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=398 * DAY,
        ceiling_per_hour=100,
        states_revocation=True,
    ),
    CertificateKind.POLICY_SERVER: KindRules(
        authorities=frozenset({Authority.ISSUING}),
        usages=(oids.SERVER_AUTHENTICATION,),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=398 * DAY,
        ceiling_per_hour=100,
        states_revocation=True,
    ),
    CertificateKind.USER: KindRules(
        authorities=frozenset({Authority.ISSUING}),
        usages=(oids.CLIENT_AUTHENTICATION,),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=3 * 366 * DAY,
        ceiling_per_hour=20_000,
        states_revocation=True,
    ),
    # Neither OCSP address nor CRL distribution point: the gateway would fall back to them when our gate says
    # `unknown`, and so let in a device we refuse (docs/decisions/0003).
    CertificateKind.DEVICE: KindRules(
        authorities=frozenset({Authority.DEVICE}),
        usages=(oids.CLIENT_AUTHENTICATION,),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=3 * 366 * DAY,
        ceiling_per_hour=20_000,
        states_revocation=False,
    ),
    CertificateKind.SHORT_LIVED: KindRules(
        authorities=frozenset({Authority.ACCESS}),
        usages=(oids.CLIENT_AUTHENTICATION, oids.CONDITIONAL_ACCESS),
        default_lifetime_seconds=HOUR,
        ceiling_lifetime_seconds=HOUR,
        ceiling_per_hour=50_000,
        states_revocation=False,
    ),
    CertificateKind.OCSP_SIGNER: KindRules(
        authorities=frozenset({Authority.ISSUING, Authority.DEVICE, Authority.ACCESS}),
        usages=(oids.OCSP_SIGNING,),
        default_lifetime_seconds=7 * DAY,
        ceiling_lifetime_seconds=7 * DAY,
        ceiling_per_hour=200,
        states_revocation=False,
    ),
    # Nobody but our own listener and our own agents look at these two, and the listener asks the database.
    CertificateKind.AGENT: KindRules(
        authorities=frozenset({Authority.ISSUING}),
        usages=(oids.CLIENT_AUTHENTICATION,),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=398 * DAY,
        ceiling_per_hour=100,
        states_revocation=False,
    ),
    CertificateKind.AGENT_SERVER: KindRules(
        authorities=frozenset({Authority.ISSUING}),
        usages=(oids.SERVER_AUTHENTICATION,),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=398 * DAY,
        ceiling_per_hour=100,
        states_revocation=False,
        only_name=AGENT_SERVER_NAME,
    ),
    # What a gateway or proxy shows when it asks us over TLS; our listener looks it up at once and goes on looking.
    CertificateKind.RADSEC: KindRules(
        authorities=frozenset({Authority.ISSUING}),
        usages=(oids.CLIENT_AUTHENTICATION,),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=398 * DAY,
        ceiling_per_hour=100,
        states_revocation=False,
    ),
    # Gateways of other makes may ask whether it was revoked.
    CertificateKind.RADSEC_SERVER: KindRules(
        authorities=frozenset({Authority.ISSUING}),
        usages=(oids.SERVER_AUTHENTICATION,),
        default_lifetime_seconds=365 * DAY,
        ceiling_lifetime_seconds=398 * DAY,
        ceiling_per_hour=100,
        states_revocation=True,
    ),
}


# Those of people: named by a user principal name, and by a security identifier where that is known.
USER_KINDS = frozenset({CertificateKind.USER, CertificateKind.SHORT_LIVED})


def is_name_of_kind(kind: CertificateKind, names: Iterable[str]) -> bool:
    """Whether certificates of a kind may carry these names: some are one kind's alone, and none is a pattern."""
    reserved = {rules.only_name for rules in KINDS.values() if rules.only_name}
    only = KINDS[kind].only_name
    names = list(names)
    if any("*" in name for name in names):  # it would match reserved ones too
        return False
    return all(name == only if only else name.lower() not in reserved for name in names)


# What each authority may ever sign, written into its own certificate as extended key usages, which OpenSSL
# and Windows both hold against everything below it.
AUTHORITY_USAGES: dict[Authority, tuple[ObjectIdentifier, ...]] = {
    authority: tuple(
        dict.fromkeys(usage for rules in KINDS.values() if authority in rules.authorities for usage in rules.usages)
    )
    for authority in (Authority.ISSUING, Authority.DEVICE, Authority.ACCESS)
}
