"""Revoke one certificate for good."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import CertificateStatus
from evertunnel.pki.revocation import REVOCATION_REASONS
from evertunnel.storage import certificates
from evertunnel.storage.snapshot import CERTIFICATE
from evertunnel.storage.store import Store


def revoke_certificate(store: Store, certificate: str, *, reason: str, actor: str, now: datetime) -> None:
    """Live tunnels that came up with it end. Raises NotFoundError, InvalidInputError."""
    if reason not in REVOCATION_REASONS or reason == "certificate hold":
        known = ", ".join(name for name in REVOCATION_REASONS if name != "certificate hold")
        raise InvalidInputError(f"{reason!r} is not a reason to revoke; known are {known}")
    with store.write(now) as tx:
        row = certificates.get_certificate(tx.connection, certificate)
        if row.status == CertificateStatus.REVOKED.value:
            raise InvalidInputError(f"certificate {row.id} is revoked already, since {row.revoked_at:%F %T} UTC")
        certificates.change_status(tx, [row.id], CertificateStatus.REVOKED, reason=reason)
        tx.raise_epoch(CERTIFICATE, row.id)
        tx.record(AuditEntry(Audit.CERTIFICATE_REVOKE, actor, row.subject_name, row.id, {"reason": reason}))
