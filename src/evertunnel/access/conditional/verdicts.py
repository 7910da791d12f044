"""What one condition says of a sign-in, and how what cannot be evaluated is told.

Conditions are ANDed in three values: one that does not match ends it, whatever is unknown beside it; without such a
one, one that is unknown makes the policy count as applying (it restricts), but not as vouching for anybody.
Inside a condition: an exclusion that is unknown excludes nobody; an inclusion that is unknown is unknown unless
another inclusion matches.
"""

from dataclasses import dataclass
from typing import Protocol

from evertunnel.access.conditional.sign_in import SignIn

_PATH_AT_MOST = 200


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """`applies` None is unknown. `condition` is Graph's word for what decided (its What If reasons), `text` says how.

    Made once when a policy is compiled, so that evaluating makes no text.
    """

    applies: bool | None
    condition: str
    text: str


MATCHES = Verdict(True, "", "")
OFF = Verdict(False, "policyNotEnabled", "switched off")
NO_USER = Verdict(False, "users", "users: no user is involved")


class Condition(Protocol):
    """One configured condition of a policy."""

    def check(self, sign_in: SignIn) -> Verdict:
        """What it says of this sign-in."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """A condition that says the same of every sign-in."""

    verdict: Verdict

    def check(self, _sign_in: SignIn) -> Verdict:
        """The same as ever."""
        return self.verdict


@dataclass(slots=True)
class Notes:
    """What reading a policy found that the administrator should know: pairs of JSON path and reason."""

    unevaluable: list[tuple[str, str]]
    without_meaning: list[tuple[str, str]]

    def add(self, path: str, reason: str) -> None:
        """Note what cannot be evaluated. A key may be as long as its author likes."""
        self.unevaluable.append((path[:_PATH_AT_MOST], reason))

    def add_unknown(self, paths: list[str]) -> bool:
        """Note fields nobody here knows; tells whether one of them may include somebody.

        The name tells: exclude... can only take out, and what cannot be evaluated takes nobody out.
        """
        for path in paths:
            takes_out = path.rpartition(".")[2].startswith("exclude")
            effect = "it excludes nobody" if takes_out else "it counts as matching"
            self.add(path, f"is a condition we do not know: {effect}")
        return any(not path.rpartition(".")[2].startswith("exclude") for path in paths)
