"""Hashes of batches: pure, the same for the same records, another for any other."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evertunnel.model import Attempt, AttemptKind, Outcome, PolicyResult, Reason, Step
from evertunnel.storage.chain import AUDIT_COLUMNS, build_attempt_row, build_batch, hash_batch, hash_content
from evertunnel.storage.tables import encode_time
from tests.installation import BEGINNING

AT = encode_time(BEGINNING)
ROW = dict.fromkeys(AUDIT_COLUMNS, "x") | {"at": BEGINNING, "id": "1"}
ROWS = st.lists(
    st.fixed_dictionaries({column: st.text(max_size=5) for column in AUDIT_COLUMNS} | {"at": st.just(BEGINNING)}),
    max_size=4,
    unique_by=lambda row: row["id"],
)


@given(ROWS, st.randoms())
def test_the_order_in_which_records_are_read_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert hash_content(rows, []) == hash_content(shuffled, [])


@given(ROWS, ROWS)
def test_other_records_have_another_hash(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    same = sorted(first, key=lambda row: row["id"]) == sorted(second, key=lambda row: row["id"])
    assert (hash_content(first, []) == hash_content(second, [])) == same


def test_text_cannot_move_from_one_column_into_the_next() -> None:
    first = ROW | {"actor": "ab", "subject": "c"}
    second = ROW | {"actor": "a", "subject": "bc"}
    assert hash_content([first], []) != hash_content([second], [])


def test_an_audit_entry_is_not_an_attempt() -> None:
    attempt = build_attempt_row(make_attempt(), batch=1)
    assert hash_content([], [attempt]) != hash_content([], [])
    assert hash_content([ROW], []) != hash_content([], [])


def test_every_part_of_a_batch_is_in_its_hash() -> None:
    parts: dict[str, Any] = {
        "number": 2, "previous_hash": bytes(32), "committed_at": AT, "epoch": 7, "content_hash": b"c" * 32,
    }  # fmt: skip
    others = {
        "number": 3, "previous_hash": b"x" * 32, "committed_at": AT + 1, "epoch": 8,
        "content_hash": b"d" * 32,
    }  # fmt: skip
    hashes = {hash_batch(**parts)} | {hash_batch(**parts | {name: other}) for name, other in others.items()}
    assert len(hashes) == 6


def test_numbers_cannot_run_into_each_other() -> None:
    first = hash_batch(1, bytes(32), AT, 23, bytes(32))
    assert first != hash_batch(12, bytes(32), AT, 3, bytes(32))


def test_a_batch_is_built_from_what_its_hash_covers() -> None:
    batch = build_batch(
        number=1, previous_hash=bytes(32), committed_at=AT, epoch=2, audit=[ROW], attempts=[]
    )  # fmt: skip
    assert batch["content_hash"] == hash_content([ROW], [])
    assert batch["hash"] == hash_batch(1, bytes(32), AT, 2, batch["content_hash"])


def make_attempt() -> Attempt:
    return Attempt(
        "a1", BEGINNING, AttemptKind.USER_TUNNEL, Outcome.GRANTED, Reason.GRANTED, duration_ms=1.2345678,
        steps=(Step(0.5, "first"),), results=(PolicyResult("p", "network", "success", "matches"),),
    )  # fmt: skip


def test_an_attempt_becomes_a_row_with_its_whole_story() -> None:
    row = build_attempt_row(make_attempt(), batch=9)
    assert row["story"] == (
        '{"steps":[[0.5,"first"]],"results":{"said":[["network","success","matches"]],"by":[["p",0]]}}'
    )
    assert (row["duration_microseconds"], row["batch"], row["reason"]) == (1235, 9, "granted")
