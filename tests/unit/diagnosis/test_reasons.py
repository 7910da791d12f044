"""Every reason has a cause and a fix an administrator can act on."""

from pathlib import Path

import pytest

from evertunnel.diagnosis.nps_codes import NPS_REASONS
from evertunnel.diagnosis.reasons import explain
from evertunnel.model import Reason
from tests.commands import find_commands, find_problem

PAGE = Path(__file__).parents[3] / "docs" / "attempts.md"
# Microsoft's NPS reason codes (reference: NPS 3.1).
NPS_CODES = {*range(11), *range(16, 24), *range(32, 39), 48, 49, *range(64, 74), 80, 96, 97, 112, 113, *range(115, 119),
             *range(256, 303)}  # fmt: skip


def test_every_code_of_nps_has_words() -> None:
    assert set(NPS_REASONS) == NPS_CODES
    assert all(words.strip() == words and len(words) >= 7 for words in NPS_REASONS.values())


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_has_cause_and_fix_in_whole_sentences(reason: Reason) -> None:
    explanation = explain(reason)
    for text in (explanation.cause, explanation.fix):
        assert len(text) > 15
        assert text[0].isupper() or text.startswith("evertunnel ")
        assert text.endswith(".")


@pytest.mark.parametrize("reason", list(Reason))
def test_the_code_is_one_nps_knows_and_only_a_grant_is_a_success(reason: Reason) -> None:
    assert explain(reason).nps_code in NPS_CODES
    assert explain(reason).nps_reason
    assert (explain(reason).nps_code == 0) == (reason is Reason.GRANTED)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_command_a_fix_names_exists_and_is_written_as_it_must_be(reason: Reason) -> None:
    commands = find_commands(explain(reason).fix)
    assert [problem for command in commands if (problem := find_problem(command))] == []


def test_most_fixes_name_a_command() -> None:
    assert sum(bool(find_commands(explain(reason).fix)) for reason in Reason) >= 10


def test_a_command_that_is_written_wrong_would_be_noticed() -> None:
    assert find_problem("device report NAME --compliant yes")
    assert find_problem("device repair NAME")
    assert find_problem("user change NAME --on")
    assert find_commands("then: evertunnel device report NAME --compliant yes.") == [
        "device report NAME --compliant yes"
    ]


def test_causes_are_told_apart() -> None:
    causes = [explain(reason).cause for reason in Reason]
    assert len(set(causes)) == len(causes)


def test_a_fix_names_whom_it_is_about_as_far_as_that_is_known() -> None:
    assert explain(Reason.USER_DENIED, user="alice@corp.example").fix.endswith("allow user alice@corp.example.")
    assert explain(Reason.USER_DENIED, device="laptop1").fix.endswith("allow user USER.")
    assigned = explain(Reason.DEVICE_NOT_ASSIGNED, user="o'neil@corp.example", device="laptop1").fix
    assert "device assign laptop1 'o'\"'\"'neil@corp.example'" in assigned
    assert "gateway change gw1 --enable" in explain(Reason.GATEWAY_DISABLED, gateway="gw1").fix


@pytest.mark.parametrize("reason", list(Reason))
def test_no_fix_has_a_name_that_cannot_be_filled_in(reason: Reason) -> None:
    assert "NAME" not in explain(reason).fix


@pytest.mark.parametrize("reason", list(Reason))
def test_the_page_for_administrators_has_each_reason_beside_its_code(reason: Reason) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if f"`{reason.value}`" in line and line.startswith("| ")]
    explanation = explain(reason)
    assert any(row.startswith(f"| {explanation.nps_code} | {explanation.nps_reason} |") for row in rows)
