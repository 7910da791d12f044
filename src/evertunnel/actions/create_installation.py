"""Make a new installation: schema, authorities, and the certificates its own processes need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from evertunnel.actions.issue_certificate import Wanted, grant_certificate
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.authorities import build_authority
from evertunnel.pki.issuance import PublicAddresses
from evertunnel.pki.keys import PrivateKey, encode_public_key
from evertunnel.storage import access_authorities, authorities
from evertunnel.storage.store import Store

# The order of making; the value is the authority above.
_PARENTS = {
    Authority.ROOT: None,
    Authority.ISSUING: Authority.ROOT,
    Authority.ACCESS: Authority.ROOT,
    Authority.DEVICE: None,
}


@dataclass(frozen=True, slots=True)
class NewInstallation:
    """What `init` was asked for. `server_keys` are the keys of our own TLS servers by process name."""

    organisation: str
    public_name: str
    addresses: PublicAddresses
    authority_keys: Mapping[str, PrivateKey]
    server_keys: dict[str, PrivateKey]


def create_installation(
    store: Store,
    wanted: NewInstallation,
    *,
    new_serial: Callable[[], int],
    actor: str,
    now: datetime,
) -> dict[str, str]:
    """Store authorities and grant the servers' certificates. Returns certificate ids by process name."""
    made: dict[Authority, x509.Certificate] = {}
    with store.write(now) as tx:
        for authority, parent in _PARENTS.items():
            made[authority] = build_authority(
                authority,
                organisation=wanted.organisation,
                generation=1,
                key=wanted.authority_keys[authority],
                serial=new_serial(),
                now=now,
                addresses=wanted.addresses,
                parent=made[parent] if parent else None,
                parent_key=wanted.authority_keys[parent] if parent else None,
            )
            authorities.insert_authority(tx, authority.value, made[authority].public_bytes(Encoding.DER))
        access = made[Authority.ACCESS]
        access_authorities.insert_first(
            tx,
            common_name=str(access.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
            not_after=access.not_valid_after_utc,
            actor=actor,
        )
        tx.record(
            AuditEntry(Audit.INSTALLATION_CREATE, actor, wanted.organisation, "", {"public_name": wanted.public_name})
        )
        granted = {}
        for process, key in wanted.server_keys.items():
            granted[process] = grant_certificate(
                tx,
                Wanted(
                    kind=CertificateKind.POLICY_SERVER,
                    name=wanted.public_name,
                    dns_names=(wanted.public_name,),
                    public_key_der=encode_public_key(key.public_key()),
                ),
                actor=actor,
            )
    return granted
