"""RadSec of a gateway: give it a certificate of ours, name one that somebody else signed, or take both away."""

from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import update

from evertunnel.actions.change_gateway import revoke_gateway_certificates
from evertunnel.actions.issue_certificate import Issued, Signer, Wanted, fetch_certificate, grant_certificate
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.model import CertificateKind
from evertunnel.pki import oids
from evertunnel.pki.keys import load_public_key
from evertunnel.storage import certificates, gateways, tables
from evertunnel.storage.snapshot import GATEWAY
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow

_PEM_AT_MOST_BYTES = 64 * 1024


def issue_radsec(
    store: Store,
    signer: Signer,
    name: str,
    public_key_der: bytes,
    *,
    lifetime_seconds: int | None,
    actor: str,
    now: datetime,
) -> Issued:
    """Let a gateway ask over TLS with a certificate of ours for this key. Those it has stay good: revoke them apart.

    Raises DomainError.
    """
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        wanted = Wanted(
            CertificateKind.RADSEC, row.name, public_key_der, gateway_id=row.id, lifetime_seconds=lifetime_seconds
        )
        certificate_id = grant_certificate(tx, wanted, actor=actor)
        _change(tx, row, actor, {"certificate": certificate_id}, radsec=True)
    return fetch_certificate(store, signer, certificate_id)


def trust_radsec_certificate(store: Store, name: str, pem: bytes, *, actor: str, now: datetime) -> None:
    """Let a gateway ask over TLS with this one certificate, whoever signed it; one named before counts no longer.

    By itself and not by its authority: nobody tells us what that one revokes. Raises DomainError.
    """
    certificate = _read_certificate(pem, now)
    der = certificate.public_bytes(Encoding.DER)
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        digest = certificate.fingerprint(hashes.SHA256())
        if certificates.find_by_fingerprint(tx.connection, digest) is not None:
            # It may be another gateway's, or revoked, and would count all the same.
            raise InvalidInputError("this certificate is one of ours: issue another for this gateway")
        for other in gateways.list_gateways(tx.connection):
            if other.id != row.id and other.radsec_certificate_der == der:
                raise AlreadyExistsError(f"this certificate is gateway {other.name}'s already")
        _change(tx, row, actor, {"fingerprint": digest.hex()}, radsec=True, radsec_certificate_der=der)


def end_radsec(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Take RadSec away: certificates of ours are revoked, one of others is forgotten, connections end.

    Raises NotFoundError; InvalidInputError when that would leave the gateway no way to ask.
    """
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        if not gateways.read_gateway(row).radius_address:
            raise InvalidInputError(
                f"gateway {row.name} asks over RadSec alone: remove it, or give it an address first with "
                f"`evertunnel gateway change {row.name} --radius-address`"
            )
        revoked = revoke_gateway_certificates(tx, row.id, [CertificateKind.RADSEC], reason="cessation of operation")
        _change(tx, row, actor, {"ended": True, "revoked": revoked}, radsec=False, radsec_certificate_der=None)


def _change(tx: Transaction, row: AnyRow, actor: str, details: dict[str, Any], **columns: Any) -> None:
    tx.connection.execute(update(tables.gateways).where(tables.gateways.c.id == row.id).values(**columns))
    tx.raise_epoch(GATEWAY, row.id)
    tx.record(AuditEntry(Audit.GATEWAY_RADSEC, actor, row.name, row.id, details))


def _read_certificate(pem: bytes, now: datetime) -> x509.Certificate:
    if len(pem) > _PEM_AT_MOST_BYTES:
        raise InvalidInputError("the file is too long for a certificate")
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        extensions = certificate.extensions
        public_key_der = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInputError(f"this is not a certificate in PEM: {error}") from None
    if now >= certificate.not_valid_after_utc:
        raise InvalidInputError(f"the certificate ended at {certificate.not_valid_after_utc:%F %T} UTC")
    load_public_key(public_key_der)  # of any other kind TLS would take nothing, and not say why
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise InvalidInputError("this is an authority: name the client's own certificate")
    except x509.ExtensionNotFound:
        pass
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return certificate
    if oids.CLIENT_AUTHENTICATION not in usages and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usages:
        raise InvalidInputError("the certificate may not be used to authenticate a client")
    return certificate
