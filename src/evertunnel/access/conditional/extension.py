"""What a policy says in words of ours, which Graph has none for: the object `evertunnel` beside `conditions`.

`leastSource`: the facts it looks at count only from such a source or a more trusted one (access.fact_sources). A "no"
about the device and a high risk count from every source: nobody gains by telling them.
`requireDeviceTunnel`: one more grant control. The device's own tunnel must be up from where the user tunnel comes from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from evertunnel.access.conditional.clients import Platforms
from evertunnel.access.conditional.devices import Devices
from evertunnel.access.conditional.grant_controls import TOLD_CONTROLS, Control, Judged
from evertunnel.access.conditional.risks import SignInRisk, UserRisk
from evertunnel.access.conditional.sign_in import SignIn
from evertunnel.access.conditional.verdicts import Condition, Verdict
from evertunnel.access.documents import read_flag, read_object, read_text, refuse_unknown
from evertunnel.access.fact_sources import LEAST_SOURCES

NAME = "evertunnel"
PATH = f"$.{NAME}"
_FIELDS = ("leastSource", "requireDeviceTunnel")
# Conditions about what somebody told, beside the platform.
_TOLD = (Devices, SignInRisk, UserRisk)


@dataclass(frozen=True, slots=True)
class Extension:
    """What a policy demands beside what Graph has words for."""

    least_source: str | None = None
    require_device_tunnel: bool = False


@dataclass(frozen=True, slots=True)
class Limited:
    """A condition that takes only the word of a source and of more trusted ones. Those of two sources are not equal."""

    condition: Condition
    least_source: str
    _too_weak: dict[Verdict, Verdict] = field(default_factory=dict, compare=False, repr=False)

    def check(self, sign_in: SignIn) -> Verdict:
        """As the condition, and whether a source that is too weak is why it is unknown."""
        found = self.condition.check(sign_in.limit(self.least_source))
        if found.applies is None and self.condition.check(sign_in).applies is not None:
            weak = self._too_weak.get(found)
            if weak is None:
                text = f"{found.text}: what is known comes from a weaker source than {self.least_source}"
                weak = self._too_weak[found] = Verdict(None, found.condition, text)
            return weak
        return found


@dataclass(frozen=True, slots=True)
class LimitedPlatforms:
    """A condition about platforms that believes only a source and more trusted ones.

    Elsewhere a platform that is not known is in no list, as in Entra. Here that would let out of the policy whoever
    tells another platform than the one there is: it may be any of those named.
    """

    condition: Platforms
    least_source: str
    unknown: Verdict = field(compare=False)

    def check(self, sign_in: SignIn) -> Verdict:
        """As the condition where the platform is known well enough or does not matter."""
        seen = sign_in.limit(self.least_source)
        named = self.condition.include | self.condition.exclude
        if seen.platform is None and "all" not in named:
            return self.unknown
        return self.condition.check(seen)


def read_extension(value: Any) -> Extension:
    """Read `evertunnel`; null is nothing. Raises PolicyError: a typing error must not weaken a policy."""
    if value is None:
        return Extension()
    document = read_object(value, PATH)
    refuse_unknown(document, PATH, _FIELDS)
    source = document.get("leastSource")
    return Extension(
        least_source=None if source is None else read_text(source, f"{PATH}.leastSource", choices=LEAST_SOURCES),
        require_device_tunnel=read_flag(
            document.get("requireDeviceTunnel"), f"{PATH}.requireDeviceTunnel", default=False
        ),
    )


def limit_conditions(conditions: tuple[Condition, ...], least_source: str) -> tuple[Condition, ...]:
    """Conditions of which those about what somebody told take only the word of such a source."""
    return tuple(_limit_condition(each, least_source) for each in conditions)


def _limit_condition(condition: Condition, least_source: str) -> Condition:
    if isinstance(condition, Platforms):
        text = f"platforms: no source as trusted as {least_source} tells the platform"
        return LimitedPlatforms(condition, least_source, Verdict(None, "devicePlatform", text))
    return Limited(condition, least_source) if isinstance(condition, _TOLD) else condition


def strip_limit(condition: Condition) -> Condition:
    """The condition itself."""
    return condition.condition if isinstance(condition, Limited) else condition


@lru_cache(maxsize=64)
def limit_control(control: Control, least_source: str) -> Control:
    """A control that takes only the word of such a source. The same one for all policies that demand the same."""
    judge = control.judge
    if judge is None or control.name not in TOLD_CONTROLS:
        return control
    return replace(control, judge=_limit_judge(judge, least_source))


def _limit_judge(judge: Callable[[SignIn], Judged], least_source: str) -> Callable[[SignIn], Judged]:
    return lambda sign_in: judge(sign_in.limit(least_source))
