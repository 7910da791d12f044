"""Makes an access authority that a stored row wants, in the signer: its key is born there and never leaves.

Nobody sends it a name or a lifetime. A caller names a row, which must be wanted still; the root signs.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.audit import Audit, AuditEntry
from evertunnel.authority_keys import AuthorityKeys
from evertunnel.errors import InvalidInputError, NotFoundError, UnavailableError
from evertunnel.model import AccessAuthorityState, Authority
from evertunnel.pki.authorities import build_access_authority
from evertunnel.pki.issuance import PublicAddresses
from evertunnel.pki.keys import PrivateKey, PublicKey, find_key_type, generate_key
from evertunnel.storage import access_authorities, authorities
from evertunnel.storage.snapshot import ACCESS_AUTHORITY
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow

# Whoever may write rows could otherwise have the root vouch for anything, for ever.
_CEILING = timedelta(days=3651)
_CEILING_TRUSTED = 16

log = structlog.get_logger()


class AuthorityMaker:
    """Has the root's key only while it uses it."""

    def __init__(
        self, store: Store, keys: AuthorityKeys, addresses: PublicAddresses, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._keys = keys
        self._addresses = addresses
        self._clock = clock
        self._lock = threading.Lock()

    def make_authority(self, name: str) -> None:
        """Make one and stage it. Raises NotFoundError, InvalidInputError, UnavailableError."""
        with self._lock:
            with self._store.read() as connection:
                _get_wanted(access_authorities.find_wanted(connection, name), name)
                key_type = find_key_type(_public_key(access_authorities.get_active(connection).certificate))
            root_key = self._keys.get(Authority.ROOT.value)
            if root_key is None:
                raise UnavailableError(
                    "the root's key, which signs an access authority, is offline: bring it here first with "
                    "`evertunnel certificate authority online root --in FILE`"
                )
            key = generate_key(key_type)  # takes a while if it is RSA: outside of the transaction
            with self._store.write(self._clock()) as tx:
                self._make(tx, _get_wanted(access_authorities.find_wanted(tx.connection, name), name), key, root_key)
        log.info("access authority made", authority=name)

    def _make(self, tx: Transaction, row: AnyRow, key: PrivateKey, root_key: PrivateKey) -> None:
        root = authorities.load_authorities(tx.connection)[Authority.ROOT]
        if row.not_after > min(tx.now + _CEILING, root.not_valid_after_utc) or row.not_after <= tx.now:
            raise InvalidInputError("an access authority lasts ten years at most, and no longer than the root")
        if access_authorities.count_trusted(tx.connection) > _CEILING_TRUSTED:
            raise InvalidInputError("too many access authorities are trusted: retire some")
        certificate = build_access_authority(
            row.common_name,
            key=key,
            serial=x509.random_serial_number(),
            now=tx.now,
            not_after=row.not_after,
            addresses=self._addresses,
            parent=root,
            parent_key=root_key,
        )
        try:
            certificate.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise UnavailableError("the root's key here is not that of the root's certificate") from error
        authorities.insert_authority(tx, row.name, certificate.public_bytes(Encoding.DER))
        access_authorities.change_access_authority(tx, row.name, state=AccessAuthorityState.STAGED.value)
        # Kept once nothing has the name, and before the commit: no key is replaced, and none is missing afterwards.
        self._keys.keep(row.name, key)
        tx.raise_epoch(ACCESS_AUTHORITY, row.name)
        made = access_authorities.get_access_authority(tx.connection, row.name)
        details = {"subject": row.common_name, "not_after": row.not_after.isoformat()}
        tx.record(AuditEntry(Audit.ACCESS_AUTHORITY_CREATE, row.created_by, row.name, made.key_identifier, details))


def _get_wanted(row: AnyRow | None, name: str) -> AnyRow:
    # By the generation, too: the name becomes that of a file.
    if row is None or row.generation < 2 or authorities.name_access_authority(row.generation) != name:
        raise NotFoundError(f"no access authority {name[:80]!r} is wanted")
    return row


def _public_key(certificate: x509.Certificate) -> PublicKey:
    key = certificate.public_key()
    assert isinstance(key, PublicKey)
    return key
