"""What is known of a sign-in when only a source and more trusted ones count, because a policy demands it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from evertunnel.access.fact_names import OPERATING_SYSTEM
from evertunnel.access.fact_sources import rank_source
from evertunnel.access.facts import SIGN_IN_RISK, USER_RISK, Facts, SignInFacts, find_user_risk
from evertunnel.model import Fact


def limit_told_facts(facts: Facts, least_source: str) -> SignInFacts:
    """What `facts` tell of the sign-in, without what only weaker sources say. What nobody told is left as it is."""
    known = facts.sign_in
    least = rank_source(least_source)

    def is_too_weak(name: str) -> bool:
        told = facts.device_facts.get(name, ())
        return bool(told) and _rank_alive(told, facts.at) < least

    return replace(
        known,
        platform=None if is_too_weak(OPERATING_SYSTEM) else known.platform,
        sign_in_risk=find_user_risk(facts, SIGN_IN_RISK, least_source=least_source)[0],
        user_risk=find_user_risk(facts, USER_RISK, least_source=least_source)[0],
        device={name: value for name, value in known.device.items() if not is_too_weak(name)},
    )


def _rank_alive(told: Sequence[Fact], at: datetime) -> int:
    return max(
        (rank_source(fact.source) for fact in told if fact.expires_at is None or at < fact.expires_at), default=0
    )
