"""The engine against a second evaluator, over random sets of policies and random sign-ins.

`EVERTUNNEL_POLICY_SETS` says how many: 5,000 unless told otherwise, 100,000 in `make soak`.
"""

import json
import os
import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evertunnel.access.conditional.evaluation import evaluate_access_policies
from evertunnel.access.conditional.policies import compile_access_policy
from tests.unit.access.conditional import oracle
from tests.unit.access.conditional.random_policies import (
    RESOLVED,
    Choose,
    build_sign_in,
    make_facts,
    make_policy,
)
from tests.unit.access.conditional.samples import LOCATIONS

SETS = int(os.environ.get("EVERTUNNEL_POLICY_SETS", "5000"))


def compare(choose: Choose) -> list[str]:
    """One set and one sign-in. Returns the words, the same from both."""
    documents = [make_policy(choose, str(number)) for number in range(choose(range(5)))]
    facts = make_facts(choose)
    policies = [compile_access_policy(document, RESOLVED, locations=LOCATIONS) for document in documents]
    found = evaluate_access_policies(policies, build_sign_in(facts))
    ours = {
        "words": [result.result for result in found.results],
        "missing": sorted({each.control for each in found.missing}),
        "code": found.error_code,
        "reason": found.refusal[0].value if found.refusal else None,
        "lifetime": found.lifetime_seconds,
        "vouching": found.satisfied,
        "status": found.status,
    }
    theirs = oracle.evaluate(documents, facts)
    assert ours == theirs, f"{ours}\n{theirs}\n{json.dumps(documents)}\n{facts}"
    return theirs["words"]  # type: ignore[no-any-return]


@given(st.data())
def test_both_say_the_same(data: Any) -> None:
    compare(lambda options: data.draw(st.sampled_from(options)))


def test_both_say_the_same_of_many() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SETS):
        seen.update(compare(random.Random(seed).choice))
    # Random policies that never apply would compare nothing.
    assert len(seen) == 9
    assert min(seen.values()) > SETS / 500, seen
