"""The diff of two documents: readable, exact, and bounded whatever the documents are like."""

from typing import Any

import pytest

from evertunnel.access.document_diff import diff_documents


def diff(before: Any, after: Any) -> list[str]:
    return diff_documents(before, after, before_label="one", after_label="two")


def test_what_changed_is_shown_with_what_stands_around_it() -> None:
    assert diff({"a": 1, "state": "disabled"}, {"a": 1, "state": "enabled"}) == [
        "--- one", "+++ two", "@@ -1,4 +1,4 @@", " {", '   "a": 1,',
        '-  "state": "disabled"', '+  "state": "enabled"', " }",
    ]  # fmt: skip


def test_equal_documents_differ_in_nothing() -> None:
    assert diff({"a": [1, None, "x"]}, {"a": [1, None, "x"]}) == []
    assert diff(None, None) == []


def test_a_document_that_is_not_there_is_all_gone_or_all_come() -> None:
    assert diff(None, {"a": 1})[3:] == ["+{", '+  "a": 1', "+}"]
    assert diff({"a": 1}, None)[3:] == ["-{", '-  "a": 1', "-}"]


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\x1c", "\x00", "\x1b[2J"])
def test_a_text_with_ends_of_lines_in_it_stays_one_line(end: str) -> None:
    lines = diff({"a": "x"}, {"a": f"x{end}--- one{end}+++ two"})
    assert len(lines) == 7
    assert lines[5].startswith('+  "a": "x')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["same"] * 9_000, [*["same"] * 8_999, "other"]),
        ([str(number % 90) for number in range(9_000)], [str(number % 91) for number in range(9_000)]),
        ([str(number) for number in range(30_000)], [str(number) for number in range(1, 30_001)]),
    ],
)
def test_a_diff_is_exact_and_takes_bounded_time_whatever_is_compared(before: list[str], after: list[str]) -> None:
    lines = diff(before, after)
    gone = [line for line in lines if line.startswith("-") and not line.startswith("---")]
    come = [line for line in lines if line.startswith("+") and not line.startswith("+++")]
    assert gone and come and len(lines) < 30_000 * 2 + 10
    assert len(after) - len(before) == len(come) - len(gone)


def test_two_changes_far_apart_in_a_long_document_are_two_places() -> None:
    before = [f"10.{number // 256}.{number % 256}.0/24" for number in range(2_000)]
    after = [*before]
    after[3], after[1_990] = "192.0.2.0/24", "198.51.100.0/24"
    lines = diff({"ipRanges": before}, {"ipRanges": after})
    assert sum(line.startswith("@@") for line in lines) == 2 and len(lines) < 30
