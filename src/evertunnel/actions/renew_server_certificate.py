"""The certificate of one of our own TLS servers: renewed thirty days before it ends, refused after its end."""

from datetime import datetime, timedelta

from cryptography import x509

from evertunnel.actions.issue_certificate import Signer, Wanted, fetch_certificate, grant_certificate
from evertunnel.errors import UnavailableError
from evertunnel.model import Authority, CertificateKind
from evertunnel.storage import authorities, certificates
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow

RENEW_BEFORE = timedelta(days=30)
# The signer signs no grant older than a minute; a younger one is asked for again instead of making another.
_GRANT_LIFE = timedelta(seconds=50)


def renew_server_certificate(store: Store, signer: Signer, public_key_der: bytes, *, actor: str, now: datetime) -> bool:
    """Get a new certificate for the same key and names, if it is time. True: there is a new one. Raises DomainError."""
    row = _get_newest(store, public_key_der)
    if row.not_after - now > RENEW_BEFORE:
        return False
    with store.write(now) as tx:
        newest = certificates.find_valid_for_key(tx.connection, public_key_der)
        if newest is not None and newest.not_after > row.not_after:
            return True  # another process with this key was quicker
        granted = certificates.find_granted_for_key(tx.connection, public_key_der, since=now - _GRANT_LIFE)
        certificate_id = granted or grant_certificate(
            tx,
            Wanted(
                kind=CertificateKind.POLICY_SERVER,
                name=row.subject_name,
                dns_names=tuple(row.dns_names),
                public_key_der=public_key_der,
            ),
            actor=actor,
        )
    fetch_certificate(store, signer, certificate_id)
    return True


def load_server_chain(store: Store, public_key_der: bytes, *, now: datetime) -> list[x509.Certificate]:
    """The newest certificate of a key and the issuing authority. Raises UnavailableError when none is good now."""
    row = _get_newest(store, public_key_der)
    if now >= row.not_after:
        raise UnavailableError(
            f"the certificate of {row.subject_name} ended at {row.not_after:%F %T} UTC, and this machine's clock says "
            f"{now:%F %T}: set the clock if that is wrong; otherwise a new one is fetched as soon as the signer gives "
            "it, and its lines in this log say why it does not"
        )
    with store.read() as connection:
        issuing = authorities.load_authorities(connection)[Authority.ISSUING]
    return [x509.load_der_x509_certificate(row.certificate_der), issuing]


def _get_newest(store: Store, public_key_der: bytes) -> AnyRow:
    with store.read() as connection:
        row = certificates.find_valid_for_key(connection, public_key_der)
    if row is None:
        raise UnavailableError(
            "no valid certificate belongs to this process's key: it is revoked, or keys and database are of two "
            "installations; put both back from one backup, or make a new installation"
        )
    return row
