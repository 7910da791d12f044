"""Session controls: how often somebody must sign in again (reference: 1.6). The others mean nothing to a VPN.

Sign-in frequency bounds how long what is granted lasts, and refuses when the sign-in is older already. `everyTime`
demands a sign-in within the last five minutes, as Entra tolerates; it bounds a certificate to the rest of them, and a
tunnel that is up is not asked again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from evertunnel.access.conditional.grant_controls import Missing
from evertunnel.access.conditional.sign_in import SignIn
from evertunnel.access.conditional.verdicts import Notes
from evertunnel.access.documents import PolicyError, is_set, list_unknown, read_flag, read_object, read_text
from evertunnel.model import Reason

PATH = "$.sessionControls"
EVERY_TIME_SECONDS = 300
# A clock that is ahead by more than this says nothing.
_AHEAD_AT_MOST = timedelta(minutes=5)
_SECONDS = {"hours": 3_600, "days": 86_400}
_DAYS_AT_MOST = 365
_FIRST_FACTORS = frozenset({"password", "federatedSingleFactor"})
_WITHOUT_MEANING = (
    "applicationEnforcedRestrictions",
    "cloudAppSecurity",
    "persistentBrowser",
    "disableResilienceDefaults",
    "secureSignInSession",
    "continuousAccessEvaluation",
    "globalSecureAccessFilteringProfile",
)
_FREQUENCY_FIELDS = ("isEnabled", "frequencyInterval", "type", "value", "authenticationType")


@dataclass(frozen=True, slots=True)
class SignInFrequency:
    """`seconds` since the sign-in; `second_factor_only` counts from the second factor instead."""

    seconds: int
    every_time: bool
    second_factor_only: bool
    missing: Missing

    def find_remaining_seconds(self, sign_in: SignIn) -> int | None:
        """How long the sign-in still counts, 0 when it does not; None is without end.

        A time that is not known counts as over.
        """
        if self.every_time and sign_in.established:
            return None
        since = self._find_time(sign_in)
        if since is None or since > sign_in.at + _AHEAD_AT_MOST:
            return 0
        remaining = int(self.seconds - max(0.0, (sign_in.at - since).total_seconds()))
        if remaining > 0 and self.every_time and sign_in.tunnel:
            return None
        return max(0, remaining)

    def _find_time(self, sign_in: SignIn) -> datetime | None:
        """The older of sign-in and second factor, or the second factor alone."""
        second = max((use.at for use in sign_in.methods if use.name not in _FIRST_FACTORS), default=None)
        if self.second_factor_only:
            return second
        first = sign_in.authenticated_at
        return first if first is None or second is None else min(first, second)


@dataclass(frozen=True, slots=True)
class SessionControls:
    """What a policy asks of the session. `unknown` are controls nobody can meet, because we do not know them."""

    frequency: SignInFrequency | None
    unknown: tuple[Missing, ...]


def read_session_controls(value: Any, notes: Notes) -> tuple[SessionControls | None, bool]:
    """Read `sessionControls`: those that count, and whether there is any at all. Raises PolicyError."""
    if not is_set(value):
        return None, False
    document = read_object(value, PATH)
    unknown = [path for path in list_unknown(document, PATH, (*_WITHOUT_MEANING, "signInFrequency"))
               if _is_enabled(document[path.removeprefix(f"{PATH}.")], path)]  # fmt: skip
    for name in _WITHOUT_MEANING:
        if is_set(document.get(name)) and _is_enabled(document[name], f"{PATH}.{name}"):
            notes.without_meaning.append((f"{PATH}.{name}", "has no meaning for a VPN and no effect"))
    frequency = _read_frequency(document.get("signInFrequency"), unknown)
    missing = []
    for path in unknown:
        text = "is a control we do not know: it is never met"
        notes.add(path, text)
        name = path.removeprefix(f"{PATH}.")[:80]
        missing.append(Missing(name, Reason.ACCESS_CONTROL_UNKNOWN, 50131, False, 10, text, evaluable=False))
    any_at_all = any(is_set(each) for name, each in document.items() if "@odata" not in name)
    if frequency is None and not missing:
        return None, any_at_all
    return SessionControls(frequency, tuple(missing)), any_at_all


def _read_frequency(value: Any, unknown: list[str]) -> SignInFrequency | None:
    path = f"{PATH}.signInFrequency"
    if not is_set(value):
        return None
    document = read_object(value, path)
    if not _is_enabled(document, path):
        return None
    unknown += list_unknown(document, path, _FREQUENCY_FIELDS)
    kind = document.get("authenticationType")
    choices = ("primaryAndSecondaryAuthentication", "secondaryAuthentication")
    second_only = kind is not None and read_text(kind, f"{path}.authenticationType", choices=choices) == choices[1]
    interval = document.get("frequencyInterval")
    if interval is not None:
        read_text(interval, f"{path}.frequencyInterval", choices=("timeBased", "everyTime"))
    if interval == "everyTime":
        return _build_frequency(EVERY_TIME_SECONDS, every_time=True, second_only=second_only)
    unit = _SECONDS[read_text(document.get("type"), f"{path}.type", choices=tuple(_SECONDS))]
    number = document.get("value")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number * unit <= _DAYS_AT_MOST * 86_400:
        raise PolicyError(f"{path}.value", f"must be a number of hours or days, together at most {_DAYS_AT_MOST} days")
    return _build_frequency(number * unit, every_time=False, second_only=second_only)


def _build_frequency(seconds: int, *, every_time: bool, second_only: bool) -> SignInFrequency:
    what = "second factor" if second_only else "sign-in"
    demanded = "every time" if every_time else f"every {seconds // 3600} hours"
    text = f"the {what} is older than it may be, or its time is not known: it is demanded {demanded}"
    code = 50078 if second_only else 70043
    missing = Missing("signInFrequency", Reason.SIGN_IN_TOO_OLD, code, True, 0, text)
    return SignInFrequency(seconds, every_time, second_only, missing)


def _is_enabled(value: Any, path: str) -> bool:
    """What does not say that it is off is on."""
    if not hasattr(value, "get"):
        return True
    return read_flag(value.get("isEnabled"), f"{path}.isEnabled", default=True)
