"""A stored grant becomes a certificate. Nothing a requester wrote gets in but the public key that was proven."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from evertunnel.model import Authority, CertificateKind
from evertunnel.pki import oids
from evertunnel.pki.extensions import (
    build_distribution_point,
    build_issuer_key_identifier,
    build_key_identifier,
    build_leaf_key_usage,
    build_responder_address,
)
from evertunnel.pki.keys import PrivateKey, load_public_key, signing_hash
from evertunnel.pki.kinds import KINDS, USER_KINDS
from evertunnel.pki.names import build_principal_name, build_subject
from evertunnel.pki.security_identifiers import build_sid_extension

# Clients with a slow clock would see a certificate from the future; Entra's own leaves are dated back as much.
BACKDATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody decided may be signed. `name` is a user principal name or a DNS name, by kind.

    `sid` is the user's security identifier in a Windows domain, empty when it is not known.
    """

    certificate_id: str
    kind: CertificateKind
    authority: Authority
    serial: int
    name: str
    dns_names: tuple[str, ...]
    public_key_der: bytes
    not_before: datetime
    not_after: datetime
    sid: str = ""


@dataclass(frozen=True, slots=True)
class PublicAddresses:
    """Where the world asks about revocation, for example http://vpn.example.com; no slash at the end."""

    base_url: str

    def revocation_list(self, authority: Authority) -> str:
        """The CRL distribution point of an authority."""
        return f"{self.base_url}/crl/{authority.value}.crl"

    def responder(self, authority: Authority) -> str:
        """The OCSP address of an authority."""
        return f"{self.base_url}/ocsp/{authority.value}"


def build_certificate(
    grant: Grant,
    *,
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    addresses: PublicAddresses,
) -> x509.Certificate:
    """Sign what the grant says, by the rules of its kind (RFC 5280 4.2)."""
    rules = KINDS[grant.kind]
    public_key = load_public_key(grant.public_key_der)
    # RSA key exchange of TLS 1.2 needs it on the server; nobody else does.
    rsa_server = isinstance(public_key, rsa.RSAPublicKey) and oids.SERVER_AUTHENTICATION in rules.usages
    serial_number = grant.certificate_id if grant.kind is CertificateKind.DEVICE else ""
    builder = (
        x509.CertificateBuilder()
        .serial_number(grant.serial)
        .subject_name(build_subject(grant.name, serial_number=serial_number))
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .not_valid_before(grant.not_before)
        .not_valid_after(grant.not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(build_leaf_key_usage(key_encipherment=rsa_server), critical=True)
        .add_extension(x509.ExtendedKeyUsage(rules.usages), critical=False)
        .add_extension(build_key_identifier(public_key), critical=False)
        .add_extension(build_issuer_key_identifier(issuer), critical=False)
    )
    alternative_names = build_alternative_names(grant)
    if alternative_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
    if rules.states_revocation:
        builder = builder.add_extension(
            build_distribution_point(addresses.revocation_list(grant.authority)), critical=False
        ).add_extension(build_responder_address(addresses.responder(grant.authority)), critical=False)
    if grant.kind is CertificateKind.SHORT_LIVED:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(oids.NO_REVOCATION_AVAILABLE, b"\x05\x00"), critical=False
        )
    if grant.sid and grant.kind in USER_KINDS:
        builder = builder.add_extension(build_sid_extension(grant.sid), critical=False)
    if grant.kind is CertificateKind.OCSP_SIGNER:
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return builder.sign(issuer_key, signing_hash(issuer_key))


def build_alternative_names(grant: Grant) -> list[x509.GeneralName]:
    """The subject alternative names a certificate of this grant carries, and no others."""
    if grant.kind in USER_KINDS:
        return [build_principal_name(grant.name)]
    return [x509.DNSName(name) for name in grant.dns_names]
