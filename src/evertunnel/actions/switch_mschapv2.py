"""Switch logins with MS-CHAPv2 on or off for the whole installation."""

from datetime import datetime

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, ConfirmationNeededError, InvalidInputError, NotFoundError
from evertunnel.model import LoginMethod
from evertunnel.storage import sessions, switches
from evertunnel.storage.snapshot import SWITCH
from evertunnel.storage.store import Store

WARNING = (
    "MS-CHAPv2 is weak: whoever takes part in one exchange, and without PEAP whoever stands in for the gateway once, "
    "finds the NT hash in a day by trying all keys of single DES, and with it logs in as the user. An NT hash is kept "
    "of each password that is set from now on; it is sealed, and whoever has the database and the key has the "
    "passwords of short words. A password is no second factor and proves no device. Use certificates where you can"
)
_PASSWORD_METHODS = frozenset(method.value for method in LoginMethod if method.by_password)


def switch_mschapv2_on(store: Store, *, weakness_accepted: bool, actor: str, now: datetime) -> None:
    """From now on network policies may allow it, and passwords that are set can be used for it.

    Raises InvalidInputError with the warning unless that was accepted, AlreadyExistsError when it is on.
    """
    if not weakness_accepted:
        raise InvalidInputError(f"{WARNING}; if it must be: --accept-weakness")
    with store.write(now) as tx:
        if switches.find_switch(tx.connection, switches.MSCHAPV2) is not None:
            raise AlreadyExistsError("MS-CHAPv2 is switched on already")
        switches.switch_on(tx, switches.MSCHAPV2, actor=actor)
        tx.raise_epoch(SWITCH, switches.MSCHAPV2)
        tx.record(AuditEntry(Audit.MSCHAPV2_ON, actor))


def switch_mschapv2_off(store: Store, *, confirmed: bool, actor: str, now: datetime) -> int:
    """Erase every NT hash; live sessions that logged in with one end. Returns how many hashes there were.

    Raises NotFoundError when it is off, ConfirmationNeededError when sessions would end and that was not confirmed.
    """
    with store.write(now) as tx:
        if switches.find_switch(tx.connection, switches.MSCHAPV2) is None:
            raise NotFoundError("MS-CHAPv2 is switched off already")
        live = sum(row.method in _PASSWORD_METHODS for row in sessions.list_live(tx.connection))
        if live and not confirmed:
            raise ConfirmationNeededError(f"this ends {live} live sessions: say that you want it with --cut")
        switches.switch_off(tx, switches.MSCHAPV2)
        erased = switches.erase_nt_hashes(tx)
        tx.raise_epoch(SWITCH, switches.MSCHAPV2)
        tx.record(AuditEntry(Audit.MSCHAPV2_OFF, actor, details={"erased": erased}))
    return erased
