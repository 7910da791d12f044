"""Grant controls: what a policy demands, in Entra's fixed order, each met or not by one sign-in (reference: 1.5, 1.7).

A control we have no means for is never met. A legacy client meets none: it can carry no proof (reference: 1.9).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from evertunnel.access.conditional.sign_in import LEGACY_CLIENT, Known, SignIn
from evertunnel.access.conditional.strengths import BUILT_IN, MULTIFACTOR, AuthenticationStrength, compile_strength
from evertunnel.access.conditional.verdicts import Notes
from evertunnel.access.documents import (
    PolicyError,
    is_set,
    list_unknown,
    quote,
    read_object,
    read_text,
    read_texts,
)
from evertunnel.model import Reason

PATH = "$.grantControls"
_FIELDS = ("operator", "builtInControls", "customAuthenticationFactors", "termsOfUse", "authenticationStrength")
OWN_TUNNEL_CONTROL = "deviceTunnel"
# Those met by what somebody told of the device, so that it matters who.
TOLD_CONTROLS = ("compliantDevice", "domainJoinedDevice")
# Whether a control is met, and what puts into words how: most decisions are read by nobody.
Judged = tuple[bool, Callable[[], str]]
_LEGACY = "a legacy client proves nothing"


@dataclass(frozen=True, slots=True)
class Missing:
    """A demand that is not met: what Entra shows for it, and whether asking the person could meet it.

    `rank` is its place in Entra's order. An `evaluable` one can be met by somebody.
    """

    control: str
    reason: Reason
    error_code: int
    interactive: bool
    rank: int
    text: str
    evaluable: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """One demand. `judge` says whether it is met, and gives what puts into words how."""

    name: str
    reason: Reason
    error_code: int
    interactive: bool
    rank: int
    judge: Callable[[SignIn], Judged] | None
    reason_unevaluable: str = ""

    def check(self, sign_in: SignIn) -> "Check":
        """Whether this sign-in meets it."""
        if self.judge is None:
            return self._refuse(self.reason_unevaluable)
        met, tell = self.judge(sign_in)
        if not met:
            return self._refuse(tell())
        if sign_in.client_app == LEGACY_CLIENT:
            return self._refuse(_LEGACY)
        return Check(tell, None)

    def _refuse(self, text: str) -> "Check":
        evaluable = self.judge is not None
        missing = Missing(self.name, self.reason, self.error_code, self.interactive, self.rank, text, evaluable)
        return Check(partial(str, text), missing)


@dataclass(frozen=True, slots=True)
class Check:
    """What came of a control. `missing` is None when it is met. Its words are made when somebody reads them."""

    tell: Callable[[], str]
    missing: Missing | None

    @property
    def text(self) -> str:
        """In words."""
        return self.tell()


@dataclass(frozen=True, slots=True, eq=False)
class GrantControls:
    """What a policy demands: `blocks`, or all or any of its controls, which stand in Entra's order.

    Policies with the same `key` demand the same.
    """

    blocks: bool
    require_all: bool
    controls: tuple[Control, ...]
    key: tuple[bool, tuple[Control, ...]]


def _judge_multifactor(sign_in: SignIn) -> Judged:
    met = MULTIFACTOR.is_met(sign_in.methods)
    words = "a second factor was passed" if met else "no second factor is known to be passed"
    return met, partial(_tell_methods, words, sign_in)


def _judge_compliant(sign_in: SignIn) -> Judged:
    return _judge_device(sign_in.compliant, "compliant")


def _judge_domain_joined(sign_in: SignIn) -> Judged:
    return _judge_device(sign_in.domain_joined, "domain joined")


def _judge_device(known: Known, what: str) -> Judged:
    return bool(known.value), partial(_tell_device, known, what)


def _tell_device(known: Known, what: str) -> str:
    state = "is" if known.value else "is not known to be" if known.value is None else "is not"
    return f"device {state} {what} ({known.tell()})"


def _judge_own_tunnel(sign_in: SignIn) -> Judged:
    if not sign_in.tunnel:
        return True, partial(str, "the device's own tunnel is asked for when the user tunnel comes up")
    return bool(sign_in.own_tunnel.value), sign_in.own_tunnel.tell


def _judge_password_change(sign_in: SignIn) -> Judged:
    if sign_in.password_changed:
        return True, partial(str, "the password was changed")
    return False, partial(str, "the password is not known to be changed")


def _tell_methods(words: str, sign_in: SignIn) -> str:
    return f"{words} ({_name_methods(sign_in)})"


def _name_methods(sign_in: SignIn) -> str:
    return ", ".join(sorted({use.name for use in sign_in.methods})) or "no method is known"


def _build_unevaluable(name: str, code: int, rank: int, why: str) -> Control:
    return Control(name, Reason.ACCESS_CONTROL_UNKNOWN, code, False, rank, None, f"{why}: it is never met")


_CONTROLS: Mapping[str, Control] = {
    control.name: control
    for control in (
        Control("mfa", Reason.MFA_REQUIRED, 50076, True, 1, _judge_multifactor),
        Control("compliantDevice", Reason.DEVICE_NOT_COMPLIANT, 53000, False, 2, _judge_compliant),
        Control("domainJoinedDevice", Reason.DEVICE_NOT_DOMAIN_JOINED, 53001, False, 3, _judge_domain_joined),
        _build_unevaluable(
            "approvedApplication", 53002, 4, "a VPN client cannot show that it is an application Microsoft approved"
        ),
        _build_unevaluable("compliantApplication", 53009, 5, "a VPN client has no app protection policy"),
        Control("passwordChange", Reason.PASSWORD_CHANGE_REQUIRED, 50135, True, 6, _judge_password_change),
        _build_unevaluable("riskRemediation", 50131, 9, "we have no means to remediate a risk"),
    )
}
_TERMS_RANK, _CUSTOM_RANK, _OWN_TUNNEL_RANK, _UNKNOWN_RANK = 7, 8, 10, 11
_OWN_TUNNEL = Control(
    OWN_TUNNEL_CONTROL, Reason.DEVICE_TUNNEL_NOT_UP, 50131, False, _OWN_TUNNEL_RANK, _judge_own_tunnel
)


def read_grant_controls(
    value: Any,
    strengths: Mapping[str, AuthenticationStrength],
    notes: Notes,
    *,
    own_tunnel: bool = False,
    limit: Callable[[Control], Control] = lambda control: control,
) -> GrantControls | None:
    """Read `grantControls`; None if nothing is demanded. `strengths` has custom ones by id and by name.

    With `own_tunnel` the device's own tunnel is one more control. `limit` gives a control as the policy wants it.
    """
    if not is_set(value) and not own_tunnel:
        return None
    document = read_object(value if is_set(value) else {}, PATH)
    words = ("block", *_CONTROLS)
    names = read_texts(document.get("builtInControls"), f"{PATH}.builtInControls", choices=words)
    controls = [_CONTROLS[name] for name in dict.fromkeys(names) if name != "block"]
    for index, name in enumerate(names):
        if name != "block" and _CONTROLS[name].judge is None:
            notes.add(f"{PATH}.builtInControls[{index}]", _CONTROLS[name].reason_unevaluable)
    terms = read_texts(document.get("termsOfUse"), f"{PATH}.termsOfUse")
    controls += [_build_terms(agreement) for agreement in dict.fromkeys(terms)]
    factors = read_texts(document.get("customAuthenticationFactors"), f"{PATH}.customAuthenticationFactors")
    for factor in dict.fromkeys(factors):
        why = f"we cannot ask the custom factor {quote(factor)}"
        controls.append(_build_unevaluable("customAuthenticationFactors", 50158, _CUSTOM_RANK, why))
        notes.add(f"{PATH}.customAuthenticationFactors", controls[-1].reason_unevaluable)
    if is_set(document.get("authenticationStrength")):
        controls.append(_read_strength(document["authenticationStrength"], strengths, notes))
    for path in list_unknown(document, PATH, _FIELDS):
        name = path.removeprefix(f"{PATH}.")[:80]
        controls.append(_build_unevaluable(name, 50131, _UNKNOWN_RANK, "is a control we do not know"))
        notes.add(path, controls[-1].reason_unevaluable)
    if own_tunnel:
        controls.append(_OWN_TUNNEL)
    controls = [limit(control) for control in controls]
    if "block" in names and (controls or len(names) > 1):
        raise PolicyError(f"{PATH}.builtInControls", "block stands alone")
    return _build(document.get("operator"), names, controls)


def _build(operator: Any, names: tuple[str, ...], controls: list[Control]) -> GrantControls | None:
    if operator is not None or len(controls) > 1 or len(names) > 1:
        operator = read_text(operator, f"{PATH}.operator", choices=("AND", "OR"))
    if not controls and "block" not in names:
        return None
    ordered = tuple(sorted(controls, key=lambda control: control.rank))
    require_all = operator != "OR"
    return GrantControls("block" in names, require_all, ordered, (require_all, ordered))


def _build_terms(agreement: str) -> Control:
    accepted = partial(str, f"the terms of use {quote(agreement)} were accepted")
    unknown = partial(str, f"the terms of use {quote(agreement)} are not known to be accepted")

    def judge(sign_in: SignIn) -> Judged:
        return (True, accepted) if agreement in sign_in.terms_accepted else (False, unknown)

    return Control("termsOfUse", Reason.TERMS_OF_USE_NOT_ACCEPTED, 50158, True, _TERMS_RANK, judge)


def _read_strength(value: Any, strengths: Mapping[str, AuthenticationStrength], notes: Notes) -> Control:
    path = f"{PATH}.authenticationStrength"
    document = read_object(value, path)
    name = read_text(document.get("id"), f"{path}.id")
    strength = BUILT_IN.get(name.lower()) or strengths.get(name)
    if strength is None:
        # Graph answers with the whole strength inside the policy.
        if not is_set(document.get("allowedCombinations")):
            raise PolicyError(f"{path}.id", f"{quote(name)} is no authentication strength we know")
        strength = compile_strength(document, path)
    for place, why in strength.unevaluable:
        notes.add(f"{path}{place.removeprefix(path).removeprefix('$')}", why)
    found, label = strength, quote(strength.name)

    def judge(sign_in: SignIn) -> Judged:
        met = found.is_met(sign_in.methods)
        words = f"authentication was {'' if met else 'not '}as strong as {label}"
        return met, partial(_tell_methods, words, sign_in)

    return Control("authenticationStrength", Reason.AUTHENTICATION_TOO_WEAK, 50074, True, 1, judge)
