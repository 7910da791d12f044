"""What differs between two documents, as a unified diff of their JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from difflib import unified_diff
from typing import Any

# Comparing line by line gets slow with the lines and with how often equal ones come: above this, what lies between
# the first and the last difference is shown as replaced.
_LINES_AT_MOST = 20_000
_PAIRS_AT_MOST = 100_000
_CONTEXT = 3


def diff_documents(before: Any, after: Any, *, before_label: str, after_label: str) -> list[str]:
    """Lines without line ends; none when nothing differs. None as a document is one that is not there.

    Text of the documents stands in them as it is, but for control characters, which JSON writes as escapes.
    """
    old, new = _list_lines(before), _list_lines(after)
    if old == new:
        return []
    if len(old) + len(new) > _LINES_AT_MOST or _count_pairs(old, new) > _PAIRS_AT_MOST:
        return [f"--- {before_label}", f"+++ {after_label}", *_replace_middle(old, new)]
    return list(unified_diff(old, new, before_label, after_label, n=_CONTEXT, lineterm=""))


def _list_lines(document: Any) -> list[str]:
    # Not splitlines(): a text may hold what Python takes for the end of a line and JSON does not.
    return [] if document is None else json.dumps(document, indent=2, ensure_ascii=False).split("\n")


def _count_pairs(old: Sequence[str], new: Sequence[str]) -> int:
    """Pairs of equal lines that are looked at; those that come very often are left out by difflib."""
    counts, often = Counter(new), len(new) // 100 + 1
    found = Counter(old)
    return sum(times * counts[line] for line, times in found.items() if len(new) < 200 or counts[line] <= often)


def _replace_middle(old: Sequence[str], new: Sequence[str]) -> list[str]:
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    gone, come = old[start : len(old) - end], new[start : len(new) - end]
    heading = f"@@ -{start + 1},{len(gone)} +{start + 1},{len(come)} @@"
    return [heading, *(f"-{line}" for line in gone), *(f"+{line}" for line in come)]
