"""Conditions about risk: of the sign-in, of the user, of an insider. The levels of a list are alternatives.

A risk that nobody computes has the level hidden and matches no list without that word: the condition does not match,
as in a tenant without the licence (reference: 1.9). A risk that is not known is something else: its source is silent or
what it said ran out. Taking that for no risk would let in whoever can silence the source, so it counts as matching.
"""

from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.sign_in import INSIDER_RISK_LEVELS, RISK_LEVELS, SignIn
from evertunnel.access.conditional.verdicts import MATCHES, Condition, Fixed, Notes, Verdict
from evertunnel.access.documents import read_flags, read_texts

_OTHER = {
    name: Verdict(False, reason, f"{name}: the risk is of another level")
    for name, reason in (
        ("signInRiskLevels", "signInRisk"),
        ("userRiskLevels", "userRisk"),
        ("insiderRiskLevels", "insiderRisk"),
    )
}
_UNKNOWN = {name: Verdict(None, other.condition, f"{name}: the risk is not known") for name, other in _OTHER.items()}
_WORKLOADS = Verdict(False, "workloadIdentities", "servicePrincipalRiskLevels: it is about workload identities")


@dataclass(frozen=True, slots=True)
class SignInRisk:
    """Levels of the sign-in's risk."""

    levels: frozenset[str]

    def check(self, sign_in: SignIn) -> Verdict:
        """One of the levels, or unknown."""
        return _check("signInRiskLevels", sign_in.sign_in_risk, self.levels)


@dataclass(frozen=True, slots=True)
class UserRisk:
    """Levels of the user's risk."""

    levels: frozenset[str]

    def check(self, sign_in: SignIn) -> Verdict:
        """One of the levels, or unknown."""
        return _check("userRiskLevels", sign_in.user_risk, self.levels)


@dataclass(frozen=True, slots=True)
class InsiderRisk:
    """Levels of the risk that an insider is."""

    levels: frozenset[str]

    def check(self, sign_in: SignIn) -> Verdict:
        """One of the levels, or unknown."""
        return _check("insiderRiskLevels", sign_in.insider_risk, self.levels)


def read_sign_in_risk(value: Any) -> Condition | None:
    """Read `conditions.signInRiskLevels`; None is any."""
    levels = frozenset(read_texts(value, "$.conditions.signInRiskLevels", choices=RISK_LEVELS))
    return SignInRisk(levels) if levels else None


def read_user_risk(value: Any) -> Condition | None:
    """Read `conditions.userRiskLevels`; None is any."""
    levels = frozenset(read_texts(value, "$.conditions.userRiskLevels", choices=RISK_LEVELS))
    return UserRisk(levels) if levels else None


def read_insider_risk(value: Any, notes: Notes) -> Condition | None:
    """Read `conditions.insiderRiskLevels`; None is any."""
    path = "$.conditions.insiderRiskLevels"
    if value in (None, ""):
        return None
    notes.add(path, "nothing tells us the risk of insiders so far: it counts as matching")
    return InsiderRisk(read_flags(value, path, INSIDER_RISK_LEVELS))


def read_workload_risk(value: Any) -> Condition | None:
    """Read `conditions.servicePrincipalRiskLevels`: no person has that risk."""
    levels = read_texts(value, "$.conditions.servicePrincipalRiskLevels", choices=("low", "medium", "high", "none"))
    return Fixed(_WORKLOADS) if levels else None


def _check(name: str, level: str | None, levels: frozenset[str]) -> Verdict:
    if level is None:
        return _UNKNOWN[name]
    return MATCHES if level in levels else _OTHER[name]
