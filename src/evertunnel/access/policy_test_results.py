"""Running self-tests of policies: what came of each, and which policies and conditions made it so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from evertunnel.access.decision import Policies, decide_certificate, decide_tunnel
from evertunnel.access.documents import PolicyProblemsError, quote
from evertunnel.access.facts import Facts
from evertunnel.access.policy_tests import PolicyTest
from evertunnel.access.what_if import Prospect, look_ahead, suppose
from evertunnel.model import Decision, Reason

# Refusals that no policy made: a test that expects "block" would pass whatever policies say.
_OF_NO_POLICY = frozenset(
    {
        Reason.USER_UNKNOWN,
        Reason.DEVICE_UNKNOWN,
        Reason.DEVICE_NOT_ASSIGNED,
        Reason.CERTIFICATE_UNKNOWN,
        Reason.CERTIFICATE_WRONG_KIND,
    }
)
_NETWORK_DECIDED = frozenset(
    {Reason.NO_NETWORK_POLICY, Reason.NETWORK_POLICY_DENIES, Reason.CERTIFICATE_USAGE_DEMANDED}
)
_DECIDING_AT_MOST = 8
_DESCRIBED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Deciding:
    """What one policy said. `kind` is network or conditional access, `result` Entra's word for what came of it.

    `condition` is Graph's word for the condition that decided; empty where all match for certain.
    """

    policy: str
    kind: str
    result: str
    condition: str
    detail: str


@dataclass(frozen=True, slots=True)
class PolicyTestResult:
    """What came of a test. `problem` says why it failed, empty when it passed.

    `expected` and `got` are grant or block, in words with what narrows them; `got` is empty for one that cannot be run.
    """

    name: str
    expected: str
    got: str = ""
    detail: str = ""
    problem: str = ""
    deciding: tuple[Deciding, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether what came of it is what must come of it."""
        return not self.problem

    def describe(self) -> str:
        """Why it failed, with the policies that decided, in a line."""
        said = [*map(_describe, self.deciding[:_DESCRIBED_AT_MOST])] or [self.detail]
        more = len(self.deciding) - _DESCRIBED_AT_MOST
        words = [self.problem, *said, f"and {more} more" if more > 0 else ""]
        return "; ".join(word for word in words if word)


class PolicyTestsError(PolicyProblemsError):
    """Nothing is saved, as tests would fail. `results` are those of the tests that fail; `mend` says what to do."""

    def __init__(self, results: Sequence[PolicyTestResult], *, mend: str) -> None:
        super().__init__([(f"policy test {quote(each.name)}", each.describe()) for each in results])
        self.results = tuple(results)
        self.mend = mend
        self.args = (f"{self.args[0]}; nothing was changed: {mend}",)


def refuse_test(test: PolicyTest, problem: str) -> PolicyTestResult:
    """The result of a test that cannot be run."""
    return PolicyTestResult(test.name, _describe_expectation(test), problem=problem)


def run_policy_test(test: PolicyTest, policies: Policies, facts: Facts) -> PolicyTestResult:
    """Decide by these policies. `facts` are who does what, as on record, with nothing known of them besides."""
    facts = suppose(facts, test.supposition)
    if test.signed_in_seconds_ago is not None:
        facts = replace(facts, signed_in_at=facts.at - timedelta(seconds=test.signed_in_seconds_ago))
    decision = (
        decide_certificate(policies, facts)
        if facts.tunnel is None
        else decide_tunnel(policies, facts, with_results=False)
    )
    found = PolicyTestResult(test.name, _describe_expectation(test), _describe_outcome(decision), decision.detail)
    problem = _find_problem(test, decision)
    if not problem and not test.policy:
        return found
    prospect = look_ahead(policies, facts)  # twice the work, for what most tests need not tell
    said = _list_said(prospect)
    if not problem:
        problem = _find_policy_problem(test, said)
    return replace(found, problem=problem, deciding=_choose(test, prospect, said))


def _find_problem(test: PolicyTest, decision: Decision) -> str:
    expected, got = _describe_expectation(test), _describe_outcome(decision)
    if decision.granted != test.grants or (test.reason is not None and decision.reason is not test.reason):
        return f"expected {expected}, got {got}"
    if test.reason is None and decision.reason in _OF_NO_POLICY:
        return (
            f"expected {expected}, and no policy was asked ({decision.reason.value}): "
            "whatever policies say, this passes; mend the test, or give that as its reason"
        )
    return ""


def _find_policy_problem(test: PolicyTest, said: Sequence[Deciding]) -> str:
    wanted = "success" if test.grants else "failure"
    named = [each for each in said if each.policy == test.policy]
    if any(each.result == wanted for each in named):
        return ""
    expected = _describe_expectation(test)
    return f"expected {expected}, {'but not by that one' if named else 'and there is no policy of that name'}"


def _list_said(prospect: Prospect) -> list[Deciding]:
    decision = prospect.decision
    network = [Deciding(each.policy, "network", each.result, "", each.detail) for each in prospect.network]
    if decision.reason is Reason.CERTIFICATE_USAGE_DEMANDED:
        network[-1] = replace(network[-1], result="failure", detail=decision.detail)
    return network + [
        Deciding(each.result.policy, "conditional access", each.result.result, each.condition, each.result.detail)
        for each in prospect.access.outcomes
    ]


def _choose(test: PolicyTest, prospect: Prospect, said: Sequence[Deciding]) -> tuple[Deciding, ...]:
    """The policy that is named, then those that made it so: who refuses, or who could have and did not."""
    decision = prospect.decision
    if decision.granted:
        chosen = [each for each in said if each.kind == "network" and each.result == "success"]
        chosen += [each for each in said if each.kind != "network" and each.result != "success"]
    elif decision.reason in _NETWORK_DECIDED:
        chosen = [each for each in said if each.kind == "network"]
        chosen = [each for each in chosen if each.result == "failure"] or chosen
    else:
        chosen = [each for each in said if each.kind != "network" and each.result == "failure"]
    named = [each for each in said if each.policy == test.policy]
    return tuple(dict.fromkeys([*named, *chosen]))[:_DECIDING_AT_MOST]


def _describe(said: Deciding) -> str:
    condition = f" ({said.condition})" if said.condition else ""
    return f"{said.kind} policy {quote(said.policy)}: {said.result}{condition}: {said.detail}"


def _describe_expectation(test: PolicyTest) -> str:
    words = "grant" if test.grants else "block"
    if test.reason is not None and not test.grants:
        words += f" ({test.reason.value})"
    return f"{words} by {quote(test.policy)}" if test.policy else words


def _describe_outcome(decision: Decision) -> str:
    return "grant" if decision.granted else f"block ({decision.reason.value})"
