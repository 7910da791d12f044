"""The code of a user's authenticator app, at a sign-in whose password was right."""

from collections.abc import Callable
from datetime import timedelta

from evertunnel.model import Decision, Outcome, Reason
from evertunnel.storage.attempts import count_failures
from evertunnel.storage.store import Transaction
from evertunnel.storage.totp import find_totp, totp_context, use_step
from evertunnel.totp import find_step

Unseal = Callable[[bytes, str], bytes]

_WRONG_AT_MOST = 5
_WRONG_WITHIN = timedelta(minutes=5)


def check_code(tx: Transaction, user_id: str, code: str, unseal: Unseal) -> tuple[bool, Decision | None]:
    """Whether a code was right, and a refusal: it is missing, wrong, or was used. Neither where the user has no app.

    A right code is used up by this transaction, whatever else is decided in it: writing transactions come one after the
    other on all nodes, so of two that bring the same code one finds it used. Raises UnavailableError.

    Wrong codes are counted against the user, on whatever devices they were tried: whoever has several would have as
    many more guesses. Nobody comes here without a device's key and the password, so nobody else holds a user back.
    """
    row = find_totp(tx.connection, user_id)
    if row is None or row.confirmed_at is None:
        return False, None
    if not code.strip():
        detail = "the password is right, and the code of the authenticator app was asked for"
        return False, Decision(Outcome.FAILED, Reason.CODE_NEEDED, detail)
    since = tx.now - _WRONG_WITHIN
    if count_failures(tx.connection, user_id=user_id, reasons=(Reason.CODE_WRONG,), since=since) >= _WRONG_AT_MOST:
        detail = f"{_WRONG_AT_MOST} codes of this user were wrong within five minutes"
        return False, Decision(Outcome.REFUSED, Reason.TOO_MANY_SIGN_INS, detail)
    step = find_step(unseal(row.secret_sealed, totp_context(user_id)), code, now=tx.now)
    if step is None:
        return False, _refuse("the password is right, the code is wrong")
    if step <= row.last_step:
        return False, _refuse("the password is right, the code was used before or is older than one that was")
    use_step(tx, user_id, step)
    return True, None


def _refuse(detail: str) -> Decision:
    return Decision(Outcome.REFUSED, Reason.CODE_WRONG, detail)
