"""NT hashes of local users: made when a password is set, and only while MS-CHAPv2 is switched on.

Such a hash is as good as the password to whoever has it, and quick to guess from. It never stands anywhere unsealed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.passwords import hash_password, verify_password
from evertunnel.protocols.eap.mschapv2_keys import hash_password_nt
from evertunnel.storage import people
from evertunnel.storage.store import Transaction
from evertunnel.storage.switches import MSCHAPV2, is_on, nt_hash_context

Seal = Callable[[bytes, str], bytes]


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that a user chose, as it will be stored in the place of the one with the mark `replaces`."""

    user_id: str
    password_hash: str
    nt_hash_sealed: bytes
    replaces: bytes

    @property
    def mark(self) -> bytes:
        """Its own, once it is stored."""
        return mark_password(self.nt_hash_sealed, expired=False)


def seal_nt_hash(connection: Connection, user_id: str, password: str, seal: Seal) -> bytes | None:
    """What to keep of a password besides its own hash; None while MS-CHAPv2 is off."""
    if not is_on(connection, MSCHAPV2):
        return None
    return seal(hash_password_nt(password), nt_hash_context(user_id))


def mark_password(nt_hash_sealed: bytes, *, expired: bool) -> bytes:
    """What is another one after each change of a password, to the same as well: sealing is never twice the same."""
    return nt_hash_sealed + bytes((expired,))


def find_objection(password: str) -> str:
    """What is wrong with a password that somebody chose; empty when it may be one."""
    try:
        verify_password(password)
    except InvalidInputError as error:
        return str(error)
    return ""


def prepare_password(user_id: str, password: str, seal: Seal, *, replaces: bytes) -> NewPassword:
    """Hash and seal, which takes its time, before anything is locked. Raises InvalidInputError."""
    sealed = seal(hash_password_nt(password), nt_hash_context(user_id))
    return NewPassword(user_id, hash_password(password), sealed, replaces)


def store_chosen_password(tx: Transaction, new: NewPassword) -> bool:
    """The user changed an expired password at a login.

    False: it is not there any more, with its user, or because somebody set another one meanwhile, which stays.
    """
    try:
        row = people.get_subject(tx.connection, SubjectKind.USER, new.user_id)
    except NotFoundError:
        return False
    if row.nt_hash_sealed is None:
        return False
    if mark_password(bytes(row.nt_hash_sealed), expired=row.password_expired) != new.replaces:
        return False
    kept = new.nt_hash_sealed if is_on(tx.connection, MSCHAPV2) else None
    people.update_subject(
        tx, SubjectKind.USER, row.id, password_hash=new.password_hash, nt_hash_sealed=kept, password_expired=False
    )
    tx.raise_epoch(SubjectKind.USER.value, row.id)
    tx.record(AuditEntry(Audit.USER_PASSWORD_CHANGE, row.name, row.name, row.id))
    return True
