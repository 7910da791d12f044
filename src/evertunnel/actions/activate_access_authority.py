"""Let a staged access authority sign from now on; the one before retires, and what it signed stays good."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from evertunnel.actions.retire_access_authority import retire
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import AccessAuthorityState, CertificateKind
from evertunnel.pki.kinds import KINDS
from evertunnel.storage import access_authorities, certificates
from evertunnel.storage.snapshot import ACCESS_AUTHORITY
from evertunnel.storage.store import Store


@dataclass(frozen=True, slots=True)
class Activated:
    """Which one signs now, and which did before, trusted until a moment."""

    name: str
    before: str
    before_trusted_until: datetime


def activate_access_authority(
    store: Store, authority: str, *, keys_here: Collection[str], actor: str, now: datetime
) -> Activated:
    """`keys_here` names the authorities whose keys the signer has. Raises NotFoundError, InvalidInputError."""
    with store.write(now) as tx:
        wanted = access_authorities.get_access_authority(tx.connection, authority)
        before = access_authorities.get_active(tx.connection)
        match wanted.state:
            case AccessAuthorityState.ACTIVE:
                raise InvalidInputError(f"{wanted.name} is the active access authority already")
            case AccessAuthorityState.RETIRED:
                raise InvalidInputError(f"{wanted.name} is retired and signs no more: create another one")
        lifetime = timedelta(seconds=KINDS[CertificateKind.SHORT_LIVED].ceiling_lifetime_seconds)
        if wanted.certificate.not_valid_after_utc < tx.now + lifetime:
            ends = wanted.certificate.not_valid_after_utc
            raise InvalidInputError(
                f"{wanted.name} ends at {ends:%F %T} UTC, before what it would sign: create another"
            )
        if wanted.name not in keys_here:
            raise InvalidInputError(f"the signer does not have the key of {wanted.name}: was it left out of a restore?")
        # The old one goes first: there is never more than one.
        until = retire(tx, before)
        access_authorities.change_access_authority(
            tx, wanted.name, state=AccessAuthorityState.ACTIVE.value, activated_at=tx.now
        )
        # Who is between a decision and its signature gets the certificate all the same.
        certificates.move_unsigned(tx, before.name, wanted.name)
        tx.raise_epoch(ACCESS_AUTHORITY, wanted.name)
        details = {"before": before.name, "before_trusted_until": until.isoformat()}
        tx.record(AuditEntry(Audit.ACCESS_AUTHORITY_ACTIVATE, actor, wanted.name, wanted.key_identifier, details))
    return Activated(wanted.name, before.name, until)
