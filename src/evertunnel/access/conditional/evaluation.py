"""Evaluating conditional access policies: applicability, controls, and one result a policy (Entra's words).

All conditions of a policy are ANDed, all policies that apply must be satisfied, block wins (reference: 1.7). What
cannot be evaluated restricts: a policy that may apply counts as applying. It does not vouch, though: `satisfied`
counts policies that apply for certain, are on, and had a grant control met.

Words are made when somebody reads them: a decision over sessions that are up needs none.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from evertunnel.access.conditional.grant_controls import Check, Control, GrantControls, Missing
from evertunnel.access.conditional.policies import KIND, AccessPolicy, State
from evertunnel.access.conditional.session_controls import SessionControls
from evertunnel.access.conditional.sign_in import VPN, SignIn
from evertunnel.access.conditional.verdicts import MATCHES, NO_USER, OFF, Condition, Verdict
from evertunnel.model import PolicyResult, Reason

BLOCKED = 53003
# Looking a member up in its enumeration costs as much as asking a condition.
_STATE_ON = State.ON

# What grant controls said, and those that are missing.
_Said = tuple[tuple[Check, ...], tuple[Missing, ...]]
# What came of policies that are alike: why they do not apply or what of them is unknown, what their grant controls
# said, and what is missing of those and of their session controls.
_Ruling = tuple[Verdict, tuple[Check, ...], tuple[Missing, ...], tuple[Missing, ...]]
_NOTHING_SAID: _Said = ((), ())


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """What one policy said. `condition` is Graph's word for the one that decided, empty when all match for certain.

    `missing` are the controls still to be met: all of them, or any where the policy's operator is OR.
    """

    result: PolicyResult
    applies: bool | None
    condition: str
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What all policies together say. `refusal` is None when every policy that applies is satisfied.

    `error_code` is what Entra would show, 0 for none. `missing` are the controls still to be met, in Entra's order;
    of a policy that wants any of several, the first. `lifetime_seconds` is how long what is granted may last at most;
    None is no bound. `applied` counts policies that are on and apply or may apply. `members` are all policies, each
    with the place of its ruling.
    """

    refusal: tuple[Reason, str] | None
    error_code: int
    missing: tuple[Missing, ...]
    lifetime_seconds: int | None
    applied: int
    satisfied: int
    members: tuple[tuple[AccessPolicy, int], ...]
    rulings: tuple[_Ruling, ...]

    @property
    def status(self) -> str:
        """Entra's conditionalAccessStatus: success, failure or notApplied."""
        if self.refusal is not None:
            return "failure"
        return "success" if self.applied else "notApplied"

    @property
    def results(self) -> tuple[PolicyResult, ...]:
        """Each policy's result, in their order."""
        return tuple([_build_result(policy, *self.rulings[place]) for policy, place in self.members])

    @property
    def outcomes(self) -> tuple[PolicyOutcome, ...]:
        """Each policy's result with the condition that decided and the controls missing, in their order."""
        found = []
        for policy, place in self.members:
            verdict, checks, unmet, too_old = self.rulings[place]
            result = _build_result(policy, verdict, checks, unmet, too_old)
            found.append(PolicyOutcome(result, verdict.applies, verdict.condition, (*too_old, *unmet)))
        return tuple(found)


def evaluate_access_policies(policies: Sequence[AccessPolicy], sign_in: SignIn) -> Evaluation:
    """Evaluate every policy, although one blocks: the record shows them all."""
    plan = _plan(tuple(policies), vpn=sign_in.applications is VPN)
    if sign_in.user is None:
        verdicts = [OFF if kind.policy.is_off else NO_USER for kind in plan.kinds]
        return _Total(sign_in).build(plan, [(verdict, (), (), ()) for verdict in verdicts])
    verdicts = [_ask(checks, sign_in) for checks in plan.asked]
    total = _Total(sign_in)
    rulings: list[_Ruling] = []
    for kind in plan.kinds:
        verdict = verdicts[kind.asks]
        rulings.append((verdict, (), (), ()) if verdict.applies is False else total.add(kind, verdict))
    return total.build(plan, rulings)


_Checks = tuple[Callable[[SignIn], Verdict], ...]


@dataclass(slots=True)
class _Kind:
    """Policies that ask and demand the same: the first of them, how many there are, and where what they ask stands."""

    policy: AccessPolicy
    asks: int
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to ask of a sign-in, the policies that are alike, and of which kind each policy is.

    What many policies ask is asked once, and what they demand is judged once.
    """

    asked: tuple[_Checks, ...]
    kinds: tuple[_Kind, ...]
    members: tuple[tuple[AccessPolicy, int], ...]


@lru_cache(maxsize=16)
def _plan(policies: tuple[AccessPolicy, ...], *, vpn: bool) -> _Plan:
    """Made once for a set of policies. Conditions and controls that are equal say the same of every sign-in."""
    asked: dict[tuple[Condition, ...], int] = {}
    kinds: dict[Hashable, tuple[int, _Kind]] = {}
    members = []
    for policy in policies:
        asks = asked.setdefault(policy.telling_of_vpn if vpn else policy.telling, len(asked))
        grant = policy.grant
        key = asks, policy.state, grant and (grant.blocks, grant.key), policy.session
        place, kind = kinds.setdefault(key, (len(kinds), _Kind(policy, asks)))
        kind.count += 1
        members.append((policy, place))
    checks = tuple(tuple(each.check for each in conditions) for conditions in asked)
    return _Plan(checks, tuple(kind for _place, kind in kinds.values()), tuple(members))


def _ask(checks: _Checks, sign_in: SignIn) -> Verdict:
    """The first condition that does not match, else the first that is unknown, else that all match."""
    verdict = MATCHES
    for check in checks:
        found = check(sign_in)
        if found is MATCHES:
            continue
        if found.applies is False:
            return found
        if verdict is MATCHES:
            verdict = found
    return verdict


@dataclass(slots=True)
class _Total:
    """What the policies that apply, or may apply, come to."""

    sign_in: SignIn
    missing: list[tuple[Missing, str]] = field(default_factory=list)
    blocker: str = ""
    lifetime_seconds: int | None = None
    applied: int = 0
    satisfied: int = 0
    # Most policies demand one of few things: what was said of them before is said again.
    checks: dict[Control, Check] = field(default_factory=dict)
    grants: dict[tuple[bool, tuple[Control, ...]], _Said] = field(default_factory=dict)

    def add(self, kind: _Kind, verdict: Verdict) -> _Ruling:
        """Judge policies that are alike, and count those that are on.

        What several miss is told of the first: they come in the order of their first.
        """
        policy = kind.policy
        grant, session = policy.grant, policy.session
        count = kind.count if policy.state is _STATE_ON else 0
        self.applied += count
        made, unmet = _NOTHING_SAID
        if grant is not None:
            if grant.blocks:
                self.blocker = self.blocker or (policy.name if count else "")
                return verdict, (), (), ()
            said = self.grants.get(grant.key)
            if said is None:
                said = self.grants[grant.key] = _check_grant(grant, self.sign_in, self.checks)
            made, unmet = said
        too_old, remaining = _check_session(session, self.sign_in) if session is not None else ((), None)
        if count:
            if unmet or too_old:
                self.missing += [(each, policy.name) for each in (*too_old, *_choose(grant, unmet))]
            elif grant is not None and verdict.applies:
                self.satisfied += count
            if remaining is not None:
                known = self.lifetime_seconds
                self.lifetime_seconds = remaining if known is None else min(known, remaining)
        return verdict, made, unmet, too_old

    def build(self, plan: _Plan, rulings: Sequence[_Ruling]) -> Evaluation:
        """The outcome of all."""
        self.missing.sort(key=lambda item: item[0].rank)
        refusal, code = _find_refusal(self.blocker, self.missing)
        distinct = tuple(dict.fromkeys(each for each, _name in self.missing))
        return Evaluation(
            refusal, code, distinct, self.lifetime_seconds, self.applied, self.satisfied, plan.members, tuple(rulings)
        )


def _check_grant(grant: GrantControls, sign_in: SignIn, known: dict[Control, Check]) -> _Said:
    """What each control said, and those that are missing: all of them, or any where the operator is OR."""
    made = []
    for control in grant.controls:
        check = known.get(control)
        if check is None:
            check = known[control] = control.check(sign_in)
        made.append(check)
    unmet = tuple([check.missing for check in made if check.missing is not None])
    if not grant.require_all and len(unmet) < len(made):
        unmet = ()
    return tuple(made), unmet


def _check_session(session: SessionControls, sign_in: SignIn) -> tuple[tuple[Missing, ...], int | None]:
    """What is missing, and how many seconds the sign-in still counts."""
    if session.frequency is None:
        return session.unknown, None
    remaining = session.frequency.find_remaining_seconds(sign_in)
    if remaining == 0:
        return (session.frequency.missing, *session.unknown), None
    return session.unknown, remaining


def _choose(grant: GrantControls | None, unmet: tuple[Missing, ...]) -> Sequence[Missing]:
    """All that is missing; of controls that are alternatives, the first in Entra's order that somebody could meet."""
    if not unmet or grant is None or grant.require_all:
        return unmet
    return (min(unmet, key=lambda each: (not each.evaluable, each.rank)),)


def _find_refusal(blocker: str, missing: Sequence[tuple[Missing, str]]) -> tuple[tuple[Reason, str] | None, int]:
    if blocker:
        text = f"conditional access policy {blocker!r}: blocks access"
        return (Reason.BLOCKED_BY_ACCESS_POLICY, text), BLOCKED
    if not missing:
        return None, 0
    first, name = missing[0]
    return (first.reason, f"conditional access policy {name!r}: {first.text}"), first.error_code


def _build_result(
    policy: AccessPolicy,
    verdict: Verdict,
    checks: tuple[Check, ...],
    unmet: tuple[Missing, ...],
    too_old: tuple[Missing, ...],
) -> PolicyResult:
    if verdict.applies is False:
        return policy.get_not_applied(verdict)
    grant = policy.grant
    blocks = grant is not None and grant.blocks
    failed = bool(blocks or unmet or too_old)
    if policy.state is _STATE_ON:
        # unknown: it demands nothing that is missing, and whether it applies at all nobody can tell.
        word = "failure" if failed else "success" if verdict.applies else "unknown"
    elif failed:
        prompts = not blocks and _is_interactive(grant, unmet) and all(each.interactive for each in too_old)
        word = "reportOnlyInterrupted" if prompts else "reportOnlyFailure"
    else:
        word = "reportOnlySuccess"
    detail = "blocks access" if blocks else _describe(grant, checks, unmet, too_old)
    if verdict.applies is None:
        detail = f"{verdict.text}, so it counts as applying: {detail}"
    return PolicyResult(policy.name, KIND, word, detail)


def _is_interactive(grant: GrantControls | None, unmet: tuple[Missing, ...]) -> bool:
    """Whether asking the person could meet what is missing."""
    if grant is None or grant.require_all or not unmet:
        return all(each.interactive for each in unmet)
    return any(each.interactive for each in unmet)


def _describe(
    grant: GrantControls | None, checks: tuple[Check, ...], unmet: tuple[Missing, ...], too_old: tuple[Missing, ...]
) -> str:
    if unmet or too_old:
        joint = "; " if grant is None or grant.require_all else "; or "
        return "; ".join(
            [*(each.text for each in too_old), *([joint.join(each.text for each in unmet)] if unmet else [])]
        )
    return "; ".join([check.text for check in checks if check.missing is None]) or "demands no control"
