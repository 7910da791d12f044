"""Trying policies on attempts of the past, with the facts as they were then."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from evertunnel.access.decision import Policies, decide_certificate, decide_tunnel
from evertunnel.access.facts import Facts
from evertunnel.model import Decision


@dataclass(frozen=True, slots=True)
class RecordedAttempt:
    """An attempt and what it was decided from. `reason` and `detail` are what decided then."""

    id: str
    at: datetime
    granted: bool
    reason: str
    detail: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Difference:
    """An attempt that would end otherwise."""

    attempt: RecordedAttempt
    decision: Decision


def replay(policies: Policies, attempts: Iterable[RecordedAttempt]) -> Iterator[Difference]:
    """Those that would newly be granted or refused."""
    for attempt in attempts:
        if attempt.facts.tunnel is None:
            decision = decide_certificate(policies, attempt.facts)
        else:
            decision = decide_tunnel(policies, attempt.facts, with_results=False)
        if decision.granted != attempt.granted:
            yield Difference(attempt, decision)
