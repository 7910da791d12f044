"""Certificates of any kind, good and odd, signed by any key: what a stranger, a thief or a mistake would bring."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evertunnel import clock

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Credential:
    """A certificate, its key, and the certificates between it and a root."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """Key, certificate and chain, as the ssl module and eapol_test read them."""
        parts = [encode_key(self.key)]
        parts += [each.public_bytes(serialization.Encoding.PEM) for each in (self.certificate, *self.chain)]
        return b"".join(parts)


def new_key(kind: str = "p256") -> PrivateKey:
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


def encode_key(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def build_authority(name: str, *, issuer: Credential | None = None, key: PrivateKey | None = None) -> Credential:
    """A certification authority, self-signed without an issuer."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, issuer.certificate.subject if issuer else subject, key, 24 * HOUR, -HOUR)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Credential(certificate, key, (issuer.certificate, *issuer.chain) if issuer else ())


def build_leaf(
    issuer: Credential,
    name: str,
    *,
    usages: Sequence[x509.ObjectIdentifier] = CLIENT,
    key: PrivateKey | None = None,
    signing_key: PrivateKey | None = None,
    begins: timedelta = -HOUR,
    ends: timedelta = HOUR,
    serial: int | None = None,
) -> Credential:
    """A certificate for `name`, which is also its DNS name. `signing_key`: not the issuer's own, a forgery."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, issuer.certificate.subject, key, ends, begins, serial)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_point_to(issuer.certificate), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if "@" not in name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return Credential(builder.sign(signing_key or issuer.key, hashes.SHA256()), key, (issuer.certificate,))


def build_stolen_pem(victim: Credential) -> bytes:
    """The victim's certificate and another's key that names the victim's public point: it loads and signs wrongly."""
    thief = new_key()
    der = thief.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    forged = der.replace(_encode_point(thief), _encode_point(victim.key))
    assert forged != der
    key_pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(forged) + b"-----END PRIVATE KEY-----\n"
    return key_pem + victim.pem.removeprefix(encode_key(victim.key))


def _point_to(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """To the identifier it has, or to the usual one: a leaf that signs another has none."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _encode_point(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    ends: timedelta,
    begins: timedelta,
    serial: int | None = None,
) -> x509.CertificateBuilder:
    now: datetime = clock.now()
    return (
        x509.CertificateBuilder()
        .serial_number(serial or x509.random_serial_number())
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
