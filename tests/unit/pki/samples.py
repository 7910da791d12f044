"""A small public key infrastructure to test with: authorities, grants, requests, and certificates bent on purpose."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.authorities import build_authority
from evertunnel.pki.issuance import BACKDATE, Grant, PublicAddresses, build_certificate
from evertunnel.pki.keys import PrivateKey, encode_public_key, generate_key, signing_hash
from evertunnel.pki.kinds import KINDS

NOW = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
ADDRESSES = PublicAddresses("http://vpn.example.test")
KEY_TYPES = ("p256", "p384", "rsa2048")
PARENTS = {
    Authority.ROOT: None,
    Authority.ISSUING: Authority.ROOT,
    Authority.ACCESS: Authority.ROOT,
    Authority.DEVICE: None,
}


@dataclass(frozen=True)
class CA:
    """An authority with its key."""

    certificate: x509.Certificate
    key: PrivateKey


def make_key(key_type: str = "p256", purpose: str = "leaf") -> PrivateKey:
    """A key of a type; the same one for the same purpose."""
    return _make_key(key_type, purpose)


@cache
def _make_key(key_type: str, _purpose: str) -> PrivateKey:
    if key_type.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(key_type[3:]))
    return generate_key(key_type)


def make_authorities(key_type: str = "p256") -> Mapping[Authority, CA]:
    """All authorities with keys of one type; the same ones each time."""
    return _make_authorities(key_type)


@cache
def _make_authorities(key_type: str) -> Mapping[Authority, CA]:
    made: dict[Authority, CA] = {}
    for authority, parent in PARENTS.items():
        key = make_key(key_type, authority.value)
        certificate = build_authority(
            authority,
            organisation="Example",
            generation=1,
            key=key,
            serial=x509.random_serial_number(),
            now=NOW,
            addresses=ADDRESSES,
            parent=made[parent].certificate if parent else None,
            parent_key=made[parent].key if parent else None,
        )
        made[authority] = CA(certificate, key)
    return made


def make_grant(kind: CertificateKind, *, key_type: str = "p256", **changes: Any) -> Grant:
    """A grant as the actions make them."""
    user = kind in (CertificateKind.USER, CertificateKind.SHORT_LIVED)
    rules = KINDS[kind]
    name = "alice@corp.example" if user else "host.corp.example"
    named = kind in (
        CertificateKind.GATEWAY, CertificateKind.POLICY_SERVER, CertificateKind.AGENT_SERVER, CertificateKind.DEVICE,
        CertificateKind.RADSEC_SERVER,
    )  # fmt: skip
    grant = Grant(
        certificate_id="0123456789abcdef",
        kind=kind,
        authority=min(rules.authorities),
        serial=0x1234567890ABCDEF,
        name=name,
        dns_names=(name,) if named else (),
        public_key_der=encode_public_key(make_key(key_type).public_key()),
        not_before=NOW - BACKDATE,
        not_after=NOW + timedelta(seconds=rules.default_lifetime_seconds),
    )
    return replace(grant, **changes)


def make_certificate(grant: Grant, *, key_type: str = "p256") -> x509.Certificate:
    """What our own code makes of a grant."""
    ca = make_authorities(key_type)[grant.authority]
    return build_certificate(grant, issuer=ca.certificate, issuer_key=ca.key, addresses=ADDRESSES)


def bend(
    certificate: x509.Certificate,
    ca: CA,
    *,
    without: Iterable[x509.ObjectIdentifier] = (),
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    hash_algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
    **fields: Any,
) -> x509.Certificate:
    """The same certificate, signed by the same authority, with something changed.

    `extensions` replaces those of the same kind or adds new ones; `without` leaves some out.
    """
    replaced = {extension.oid: (extension, critical) for extension, critical in extensions}
    left_out = set(without)
    builder = (
        x509.CertificateBuilder()
        .serial_number(fields.get("serial", certificate.serial_number))
        .subject_name(fields.get("subject", certificate.subject))
        .issuer_name(fields.get("issuer", certificate.issuer))
        .public_key(fields.get("public_key", certificate.public_key()))
        .not_valid_before(fields.get("not_before", certificate.not_valid_before_utc))
        .not_valid_after(fields.get("not_after", certificate.not_valid_after_utc))
    )
    for extension in certificate.extensions:
        if extension.oid in left_out:
            continue
        value, critical = replaced.pop(extension.oid, (extension.value, extension.critical))
        builder = builder.add_extension(value, critical)
    for value, critical in replaced.values():
        builder = builder.add_extension(value, critical)
    return builder.sign(ca.key, hash_algorithm or signing_hash(ca.key))


def make_request(key: PrivateKey | None = None, *, subject: str = "", names: Iterable[str] = ()) -> bytes:
    """A certificate signing request (DER), with names nobody may take from it."""
    key = key or make_key()
    attributes = [x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, subject)] if subject else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, signing_hash(key)).public_bytes(Encoding.DER)
