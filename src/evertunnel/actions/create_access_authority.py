"""Create an access authority: it is staged, so that everybody can learn of it before it signs."""

import re
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.x509.oid import NameOID

from evertunnel.errors import DomainError, InvalidInputError
from evertunnel.model import Authority
from evertunnel.pki.names import MAXIMUM_COMMON_NAME_BYTES
from evertunnel.storage import access_authorities
from evertunnel.storage.authorities import load_authorities
from evertunnel.storage.store import Store

MAXIMUM_LIFETIME_DAYS = 3650
# Each is in memory, in every profile and in every handshake's search for an issuer.
_AT_MOST = 8
_GENERATION = re.compile(r" [0-9]+$", re.ASCII)


class AuthorityMaker(Protocol):
    """Makes key and certificate of an authority that a stored row wants: the signer over its socket, or at hand."""

    def make_authority(self, name: str) -> None:
        """Raises DomainError."""


def create_access_authority(
    store: Store, maker: AuthorityMaker, *, lifetime_days: int, common_name: str = "", actor: str, now: datetime
) -> str:
    """Returns its name. Without a common name it is called as the one that signs, with the next number.

    Raises InvalidInputError; UnavailableError while the root's key is away, which signs it.
    """
    if not 1 <= lifetime_days <= MAXIMUM_LIFETIME_DAYS:
        raise InvalidInputError(
            f"an access authority lasts from 1 to {MAXIMUM_LIFETIME_DAYS} days, not {lifetime_days}"
        )
    if common_name and (common_name.strip() != common_name or not common_name.isprintable()):
        raise InvalidInputError("the common name of an authority is printable, without spaces around it")
    if len(common_name.encode(errors="replace")) > MAXIMUM_COMMON_NAME_BYTES:
        raise InvalidInputError(f"the common name of an authority has at most {MAXIMUM_COMMON_NAME_BYTES} bytes")
    not_after = (now + timedelta(days=lifetime_days)).replace(microsecond=0)
    with store.write(now) as tx:
        root = load_authorities(tx.connection)[Authority.ROOT]
        if not_after > root.not_valid_after_utc:
            raise InvalidInputError(f"the root, which signs it, ends before, at {root.not_valid_after_utc:%F %T} UTC")
        if access_authorities.count_trusted(tx.connection) >= _AT_MOST:
            raise InvalidInputError(f"{_AT_MOST} access authorities are trusted at once, and no more: retire one")
        generation = access_authorities.find_next_generation(tx.connection)
        if not common_name:
            subject = access_authorities.get_active(tx.connection).certificate.subject
            before = str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
            common_name = f"{_GENERATION.sub('', before)} {generation}"
        name = access_authorities.insert_wanted(
            tx, generation, common_name=common_name, not_after=not_after, actor=actor
        )
    try:
        maker.make_authority(name)
    except DomainError:
        with store.write(now) as tx:
            access_authorities.delete_wanted(tx, name)
        raise
    return name
