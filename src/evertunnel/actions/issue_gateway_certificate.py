"""The certificates of a gateway: the one it shows to clients, and its agent's. Renewed thirty days before they end."""

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509

from evertunnel.actions.issue_certificate import Signer, Wanted, issue_certificate
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

    Which key that is was proven at enrolment. Raises UnavailableError when there is none, or the last one was taken
    away: then only a new enrolment helps.
    """
    name = gateway.name if kind is CertificateKind.AGENT else gateway.public_name
    with store.read() as connection:
        statuses = [status.value for status in CertificateStatus]
        rows = certificates.list_of_subject(connection, "gateway_id", gateway.id, statuses)
    newest = max((row for row in rows if row.kind == kind.value and row.certificate_der), key=_find_age, default=None)
    if newest is None or (newest.status != CertificateStatus.VALID.value and newest.revocation_reason != "superseded"):
        raise UnavailableError(
            f"the {kind.value} certificate of {gateway.name} was taken away: enrol its agent anew with a code from "
            f"`evertunnel gateway code {gateway.name}`"
        )
    names = (name,) if kind is CertificateKind.GATEWAY else ()
    wanted = Wanted(kind, name, newest.public_key_der, names, gateway_id=gateway.id)
    return find_or_issue(store, signer, wanted, actor=f"agent of {gateway.name}", clock=clock)


def _find_age(row: AnyRow) -> tuple[datetime, datetime]:
    return row.granted_at, row.not_after
