"""What each policy said of an attempt, as its record keeps it: most policies say the same, so it is written once.

With a hundred policies that is a record of four thousand octets instead of ten.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from evertunnel.model import PolicyResult


def encode_results(results: Iterable[PolicyResult]) -> dict[str, Any]:
    """As JSON: `said` holds [kind, result, detail]; `by` each policy, in their order, and its place there."""
    said: dict[tuple[str, str, str], int] = {}
    by = []
    for each in results:
        words = each.kind, each.result, each.detail
        place = said.get(words)
        if place is None:
            place = said[words] = len(said)
        by.append((each.policy, place))
    return {"said": list(said), "by": by}


def decode_results(story: Mapping[str, Any]) -> list[PolicyResult]:
    """Of a record's story, in the policies' order. Records of earlier versions have every word again."""
    if "results" not in story:
        return [PolicyResult(*each) for each in story["policies"]]
    said = story["results"]["said"]
    return [PolicyResult(policy, *said[place]) for policy, place in story["results"]["by"]]
