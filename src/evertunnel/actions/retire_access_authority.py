"""Retire an access authority: it signs no more. What it signed stays good to its end, or is refused at once."""

from dataclasses import dataclass
from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import AccessAuthorityState, CertificateStatus
from evertunnel.storage import access_authorities, certificates
from evertunnel.storage.access_authorities import AccessAuthority
from evertunnel.storage.snapshot import ACCESS_AUTHORITY, CERTIFICATE
from evertunnel.storage.store import Store, Transaction

_REASON = "key compromise"
# SQLite looks each named parameter up among all of them: few at once are quicker.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Retired:
    """Until when it is trusted, and how many certificates were revoked with it."""

    name: str
    trusted_until: datetime
    revoked: int


def retire_access_authority(store: Store, authority: str, *, distrust: bool, actor: str, now: datetime) -> Retired:
    """With `distrust` every certificate of it is revoked in this transaction, and live sessions end as by a denial.

    Raises NotFoundError; InvalidInputError for the one that is active, and for one that is retired already.
    """
    with store.write(now) as tx:
        found = access_authorities.get_access_authority(tx.connection, authority)
        if found.state is AccessAuthorityState.ACTIVE:
            raise InvalidInputError(f"{found.name} is the active access authority: activate another one first")
        if found.distrusted or (found.state is AccessAuthorityState.RETIRED and not distrust):
            how = "and distrusted" if found.distrusted else "; --distrust refuses its certificates at once"
            raise InvalidInputError(f"{found.name} is retired already{' ' * found.distrusted}{how}")
        revoked = 0
        if distrust:
            until = tx.now
            retired_at = found.retired_at or tx.now
            revoked = _distrust(tx, found, retired_at)
        else:
            until = retire(tx, found)
        tx.raise_epoch(ACCESS_AUTHORITY, found.name)
        details = {"trusted_until": until.isoformat(), **({"certificates": revoked} if distrust else {})}
        what = Audit.ACCESS_AUTHORITY_DISTRUST if distrust else Audit.ACCESS_AUTHORITY_RETIRE
        tx.record(AuditEntry(what, actor, found.name, found.key_identifier, details))
    return Retired(found.name, until, revoked)


def retire(tx: Transaction, authority: AccessAuthority) -> datetime:
    """Let one sign no more. Returns until when it is trusted: the end of the last certificate it signed."""
    until = certificates.find_last_end(tx.connection, authority.name, tx.now) or tx.now
    access_authorities.change_access_authority(
        tx,
        authority.name,
        state=AccessAuthorityState.RETIRED.value,
        retired_at=tx.now,
        trusted_until=until,
        trust_ended_at=tx.now if until == tx.now else None,
    )
    return until


def _distrust(tx: Transaction, authority: AccessAuthority, retired_at: datetime) -> int:
    in_use = certificates.list_in_use_of_authority(tx.connection, authority.name, tx.now)
    for first in range(0, len(in_use), _AT_ONCE):
        certificates.change_status(tx, in_use[first : first + _AT_ONCE], CertificateStatus.REVOKED, reason=_REASON)
    for certificate_id in in_use:
        tx.raise_epoch(CERTIFICATE, certificate_id)
    access_authorities.change_access_authority(
        tx,
        authority.name,
        state=AccessAuthorityState.RETIRED.value,
        retired_at=retired_at,
        trusted_until=tx.now,
        trust_ended_at=authority.trust_ended_at or tx.now,
        distrusted=True,
    )
    return len(in_use)
