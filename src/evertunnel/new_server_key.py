"""A new key and certificate for one of our TLS servers, after a theft of the old; nothing serves meanwhile.

Revoked and granted in one transaction, then signed, then the key is replaced. After a death in between the same command
again makes another one; a server whose certificate is revoked does not start.
"""

from evertunnel import clock
from evertunnel.actions.issue_certificate import Wanted, grant_certificate
from evertunnel.audit import Audit, AuditEntry
from evertunnel.authority_keys import AuthorityKeys
from evertunnel.errors import UnavailableError
from evertunnel.installation import Installation
from evertunnel.model import CertificateKind, CertificateStatus
from evertunnel.pki.keys import encode_public_key, generate_key
from evertunnel.signer import LocalSigner
from evertunnel.storage import certificates
from evertunnel.storage.snapshot import CERTIFICATE

# Server -> the process that holds its key.
SERVERS = {"policy-server": "radius", "https": "web-public"}
_REASON = "key compromise"


def renew_with_new_key(installation: Installation, server: str, *, actor: str) -> str:
    """Returns the id of the new certificate. Raises DomainError."""
    keystore, process = installation.keystore, SERVERS[server]
    name = installation.config.installation.public_name
    try:
        old = encode_public_key(keystore.load_key(process, server).public_key())
    except UnavailableError:  # gone or damaged: there is a new one soon, and nothing to tell the old certificate by
        old = b""
    key = generate_key("p256")
    store = installation.open_store()
    try:
        signer = LocalSigner(store, AuthorityKeys(keystore), installation.addresses, clock.now)
        with store.write(clock.now()) as tx:
            for row in certificates.list_valid_for_key(tx.connection, old):
                certificates.change_status(tx, [row.id], CertificateStatus.REVOKED, reason=_REASON)
                tx.raise_epoch(CERTIFICATE, row.id)
                details = {"reason": _REASON}
                tx.record(AuditEntry(Audit.CERTIFICATE_REVOKE, actor, row.subject_name, row.id, details))
            granted = grant_certificate(
                tx,
                Wanted(
                    kind=CertificateKind.POLICY_SERVER,
                    name=name,
                    dns_names=(name,),
                    public_key_der=encode_public_key(key.public_key()),
                ),
                actor=actor,
            )
        signer.sign(granted)
        keystore.replace_key(process, server, key)
        signer.publish_revocations()
    finally:
        store.close()
    return granted
