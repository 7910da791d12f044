"""The authorities' own certificates: a root, two below it, and the device authority beside it."""

from datetime import datetime, timedelta

from cryptography import x509

from evertunnel.model import Authority
from evertunnel.pki.extensions import (
    build_authority_key_usage,
    build_distribution_point,
    build_issuer_key_identifier,
    build_key_identifier,
)
from evertunnel.pki.issuance import BACKDATE, PublicAddresses
from evertunnel.pki.keys import PrivateKey, signing_hash
from evertunnel.pki.kinds import AUTHORITY_USAGES
from evertunnel.pki.names import build_subject, shorten

# Leaves room for the title and the generation, by which the authorities are told apart.
_MAXIMUM_ORGANISATION_BYTES = 32

_LIFETIME = {
    Authority.ROOT: timedelta(days=20 * 365),
    Authority.ISSUING: timedelta(days=10 * 365),
    Authority.ACCESS: timedelta(days=5 * 365),
    Authority.DEVICE: timedelta(days=20 * 365),
}
_TITLE = {
    Authority.ROOT: "Root",
    Authority.ISSUING: "Issuing",
    Authority.ACCESS: "Conditional Access",
    Authority.DEVICE: "Devices",
}


def build_authority(
    authority: Authority,
    *,
    organisation: str,
    generation: int,
    key: PrivateKey,
    serial: int,
    now: datetime,
    addresses: PublicAddresses,
    parent: x509.Certificate | None = None,
    parent_key: PrivateKey | None = None,
) -> x509.Certificate:
    """A CA certificate: self-signed without a parent; path length zero below the root; usages constrained.

    The subject carries a generation, so that two generations never share a name and a chain is found by name
    alone (Entra's "VPN root CA gen 1" keeps one name for all, and clients pick the wrong one).
    """
    short_name = shorten(organisation, _MAXIMUM_ORGANISATION_BYTES).strip()
    return _build(
        authority,
        build_subject(f"{short_name} {_TITLE[authority]} CA {generation}"),
        key=key,
        serial=serial,
        now=now,
        not_after=now + _LIFETIME[authority],
        addresses=addresses,
        parent=parent,
        parent_key=parent_key,
    )


def build_access_authority(
    common_name: str,
    *,
    key: PrivateKey,
    serial: int,
    now: datetime,
    not_after: datetime,
    addresses: PublicAddresses,
    parent: x509.Certificate,
    parent_key: PrivateKey,
) -> x509.Certificate:
    """A later access authority. It may be called as another one is: chains are found by key identifier."""
    return _build(
        Authority.ACCESS,
        build_subject(common_name),
        key=key,
        serial=serial,
        now=now,
        not_after=not_after,
        addresses=addresses,
        parent=parent,
        parent_key=parent_key,
    )


def _build(
    authority: Authority,
    subject: x509.Name,
    *,
    key: PrivateKey,
    serial: int,
    now: datetime,
    not_after: datetime,
    addresses: PublicAddresses,
    parent: x509.Certificate | None,
    parent_key: PrivateKey | None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .serial_number(serial)
        .subject_name(subject)
        .issuer_name(parent.subject if parent else subject)
        .public_key(key.public_key())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
        .add_extension(
            x509.BasicConstraints(ca=True, path_length=1 if authority is Authority.ROOT else 0), critical=True
        )
        .add_extension(build_authority_key_usage(), critical=True)
        .add_extension(build_key_identifier(key.public_key()), critical=False)
    )
    if usages := AUTHORITY_USAGES.get(authority):
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if parent is not None:
        builder = builder.add_extension(build_issuer_key_identifier(parent), critical=False)
        builder = builder.add_extension(
            build_distribution_point(addresses.revocation_list(Authority.ROOT)), critical=False
        )
    signing_key = parent_key or key
    return builder.sign(signing_key, signing_hash(signing_key))
