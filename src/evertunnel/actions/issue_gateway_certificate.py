"""The certificates of a gateway: the one it shows to clients, and its agent's. Renewed thirty days before they end."""

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from sqlalchemy import Connection

from evertunnel.actions.issue_certificate import (
    Signer,
    Wanted,
    fetch_certificate,
    grant_certificate,
    issue_certificate,
)
from evertunnel.errors import UnavailableError
from evertunnel.model import CertificateKind, CertificateStatus
from evertunnel.storage import certificates
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow

# Each gateway is loaded anew once a day, so this is soon enough to try more than once.
_RENEW_BEFORE = timedelta(days=30)


def find_or_issue(
    store: Store, signer: Signer, wanted: Wanted, *, actor: str, clock: Callable[[], datetime]
) -> x509.Certificate:
    """The certificate of a key with the name that is wanted: the one that is good for long, or a new one."""
    with store.read() as connection:
        found = certificates.find_valid_for_key(connection, wanted.public_key_der)
    if found is not None and found.subject_name == wanted.name and found.not_after - clock() > _RENEW_BEFORE:
        return x509.load_der_x509_certificate(found.certificate_der)
    issued = issue_certificate(store, signer, wanted, actor=actor, now=clock())
    return x509.load_der_x509_certificate(issued.certificate_der)


def renew_for_agent(
    store: Store, signer: Signer, gateway: AnyRow, kind: CertificateKind, *, clock: Callable[[], datetime]
) -> x509.Certificate:
    """The certificate of a key that lies with a gateway's agent, renewed if it is time.

    Which key that is was proven at the last enrolment. Raises UnavailableError when there is none, or its certificate
    was taken away: then only a new enrolment helps.
    """
    name = gateway.name if kind is CertificateKind.AGENT else gateway.public_name
    with store.read() as connection:
        newest = _find_newest(connection, gateway, kind)
    now = clock()
    if (
        newest.status == CertificateStatus.VALID.value
        and newest.subject_name == name
        and newest.not_after - now > _RENEW_BEFORE
    ):
        return x509.load_der_x509_certificate(newest.certificate_der)
    names = (name,) if kind is CertificateKind.GATEWAY else ()
    with store.write(now) as tx:
        newest = _find_newest(tx.connection, gateway, kind)  # somebody may have enrolled meanwhile, with another key
        wanted = Wanted(kind, name, newest.public_key_der, names, gateway_id=gateway.id)
        certificate_id = grant_certificate(tx, wanted, actor=f"agent of {gateway.name}")
    return x509.load_der_x509_certificate(fetch_certificate(store, signer, certificate_id).certificate_der)


def _find_newest(connection: Connection, gateway: AnyRow, kind: CertificateKind) -> AnyRow:
    """The newest signed certificate of the key that was granted one last, signed or not: that key is the agent's."""
    statuses = [status.value for status in CertificateStatus]
    rows = certificates.list_of_subject(connection, "gateway_id", gateway.id, statuses)
    rows = [row for row in rows if row.kind == kind.value]
    last = max(rows, key=_find_age, default=None)
    signed = [row for row in rows if last and row.public_key_der == last.public_key_der and row.certificate_der]
    newest = max(signed, key=_find_age, default=None)
    if newest is None or (newest.status != CertificateStatus.VALID.value and newest.revocation_reason != "superseded"):
        raise UnavailableError(
            f"there is no {kind.value} certificate of {gateway.name} to renew, or it was taken away: enrol its agent "
            f"anew with a code from `evertunnel gateway code {gateway.name}`"
        )
    return newest


def _find_age(row: AnyRow) -> tuple[datetime, bool, datetime]:
    """Of those granted in one moment an enrolment revoked the older ones."""
    return row.granted_at, row.revoked_at is None, row.not_after
