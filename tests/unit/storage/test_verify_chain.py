"""The hash chain: whatever is changed, removed, put in, exchanged or cut off behind our back is found."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import Attempt, AttemptKind, Outcome, PolicyResult, Reason, Step
from evertunnel.storage import tables
from evertunnel.storage.chain import ATTEMPT_COLUMNS, AUDIT_COLUMNS
from evertunnel.storage.store import new_id
from evertunnel.storage.verify_chain import ChainReport, verify_chain
from tests.installation import Installation

BATCHES = 6


@pytest.fixture
def recorded(sqlite_installation: Installation, tmp_path: Path) -> Iterator[tuple[Installation, sqlite3.Connection]]:
    """An installation with several batches of two entries and two attempts, and a way in behind its back."""
    installation = sqlite_installation
    record_batches(installation)
    intruder = sqlite3.connect(tmp_path / "evertunnel.db", isolation_level=None)
    yield installation, intruder
    intruder.close()


def record_batches(installation: Installation) -> None:
    for number in range(BATCHES):
        with installation.store.write(installation.clock.forward(seconds=1)) as tx:
            tx.raise_epoch("user", str(number))
            for _ in range(2):
                tx.record(AuditEntry(Audit.USER_ADD, "ann", f"user {number}", "u", {"number": number}))
                tx.record_attempt(make_attempt(installation, number))


def make_attempt(installation: Installation, number: int) -> Attempt:
    return Attempt(
        new_id(), installation.now, AttemptKind.USER_TUNNEL, Outcome.REFUSED, Reason.USER_DENIED, detail="detail",
        gateway_id="g", user_id="u", device_id="d", certificate_id="c", session_id="s", claimed_identity="alice",
        client_address="192.0.2.1", duration_ms=1.5, steps=(Step(0.1, f"step {number}"),),
        results=(PolicyResult("p", "network", "success", "x"),),
    )  # fmt: skip


def verify(installation: Installation, head: str | None = None) -> ChainReport:
    with installation.store.read() as connection:
        return verify_chain(connection, expected_head=head)


def test_an_untouched_chain_has_no_problem(recorded: tuple[Installation, sqlite3.Connection]) -> None:
    report = verify(recorded[0])
    assert report.problems == []
    assert report.batches == BATCHES + 1  # the first one made the installation


CHANGES = [("audit", column) for column in AUDIT_COLUMNS] + [("attempts", column) for column in ATTEMPT_COLUMNS]
MORE = [("batches", column) for column in ("number", "committed_at", "epoch", "content_hash", "hash")]


@pytest.mark.parametrize(("table", "column"), CHANGES + MORE)
@pytest.mark.parametrize("value", ["'changed'", "12345678", "NULL", "x'00ff'", "9e99"])
def test_a_changed_value_is_found(
    recorded: tuple[Installation, sqlite3.Connection], table: str, column: str, value: str
) -> None:
    installation, intruder = recorded
    place = f"SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET 3"
    try:
        intruder.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = ({place})")
    except sqlite3.IntegrityError:
        intruder.execute(f"UPDATE {table} SET {column} = x'0102' WHERE rowid = ({place})")
    assert verify(installation).problems != []


@pytest.mark.parametrize("table", ["audit", "attempts", "batches"])
@pytest.mark.parametrize("offset", range(BATCHES))
def test_a_removed_row_is_found(recorded: tuple[Installation, sqlite3.Connection], table: str, offset: int) -> None:
    installation, intruder = recorded
    intruder.execute(f"DELETE FROM {table} WHERE rowid = (SELECT rowid FROM {table} LIMIT 1 OFFSET {offset})")
    assert verify(installation).problems != []


@pytest.mark.parametrize("table", ["audit", "attempts"])
@pytest.mark.parametrize("batch", [-1, 0, 1, 3, BATCHES + 1, BATCHES + 2, 10**9])
def test_an_inserted_row_is_found(recorded: tuple[Installation, sqlite3.Connection], table: str, batch: int) -> None:
    installation, intruder = recorded
    columns = [column.name for column in tables.metadata.tables[table].columns]
    values = ", ".join({"id": "'ffff'", "batch": str(batch)}.get(column, column) for column in columns)
    intruder.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} LIMIT 1")
    assert verify(installation).problems != []


@pytest.mark.parametrize("table", ["audit", "attempts"])
def test_rows_exchanged_between_batches_are_found(
    recorded: tuple[Installation, sqlite3.Connection], table: str
) -> None:
    installation, intruder = recorded
    intruder.execute(f"UPDATE {table} SET batch = CASE batch WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE batch END")
    assert verify(installation).problems != []


def test_batches_in_another_order_are_found(recorded: tuple[Installation, sqlite3.Connection]) -> None:
    installation, intruder = recorded
    for table, column in (("batches", "number"), ("audit", "batch"), ("attempts", "batch")):
        intruder.execute(f"UPDATE {table} SET {column} = -{column}")
        intruder.execute(
            f"UPDATE {table} SET {column} = CASE {column} WHEN -2 THEN 3 WHEN -3 THEN 2 ELSE -{column} END"
        )
    assert any("does not follow" in problem for problem in verify(installation).problems)


@pytest.mark.parametrize("keep", range(BATCHES + 1))
def test_an_end_that_was_cut_off_is_found(recorded: tuple[Installation, sqlite3.Connection], keep: int) -> None:
    installation, intruder = recorded
    for table, column in (("batches", "number"), ("audit", "batch"), ("attempts", "batch")):
        intruder.execute(f"DELETE FROM {table} WHERE {column} > {keep}")
    assert verify(installation).problems == [f"the ledger ends at batch {BATCHES + 1}, the batches end at {keep}"]


def test_an_end_that_was_cut_off_together_with_the_ledger_is_found_by_a_head_noted_elsewhere(
    recorded: tuple[Installation, sqlite3.Connection],
) -> None:
    installation, intruder = recorded
    noted = verify(installation).head.hex()
    for table, column in (("batches", "number"), ("audit", "batch"), ("attempts", "batch")):
        intruder.execute(f"DELETE FROM {table} WHERE {column} > 3")
    intruder.execute("UPDATE ledger SET batch_number = 3, batch_hash = (SELECT hash FROM batches WHERE number = 3)")
    assert verify(installation).problems == []
    assert verify(installation, noted).problems == [
        f"no batch has the hash {noted}: the chain was cut off or begun anew"
    ]


def test_a_head_noted_earlier_is_met_after_more_was_recorded(
    recorded: tuple[Installation, sqlite3.Connection],
) -> None:
    installation, _ = recorded
    noted = verify(installation).head.hex()
    installation.add_user()
    assert verify(installation, noted).problems == []


@pytest.mark.parametrize("head", ["", "00", "no hash", "ff" * 32])
def test_a_head_nobody_noted_is_met_by_no_batch(recorded: tuple[Installation, sqlite3.Connection], head: str) -> None:
    assert len(verify(recorded[0], head).problems) == 1


def test_a_head_may_be_written_in_capitals(recorded: tuple[Installation, sqlite3.Connection]) -> None:
    noted = verify(recorded[0]).head.hex().upper()
    assert verify(recorded[0], noted).problems == []


def test_a_chain_begun_anew_is_found_by_a_head_noted_elsewhere(
    recorded: tuple[Installation, sqlite3.Connection],
) -> None:
    installation, intruder = recorded
    noted = verify(installation).head.hex()
    for table in ("audit", "attempts", "batches"):
        intruder.execute(f"DELETE FROM {table}")
    intruder.execute("UPDATE ledger SET batch_number = 0, batch_hash = zeroblob(32)")
    assert verify(installation).problems == []
    assert verify(installation, noted).problems != []


def test_a_ledger_that_is_gone_is_a_problem_and_not_an_error(
    recorded: tuple[Installation, sqlite3.Connection],
) -> None:
    installation, intruder = recorded
    intruder.execute("DELETE FROM ledger")
    assert verify(installation).problems == ["the ledger is gone, which says where the chain ends"]


def test_no_more_than_twenty_problems_are_told(recorded: tuple[Installation, sqlite3.Connection]) -> None:
    installation, intruder = recorded
    for number in range(30):
        with installation.store.write(installation.now) as tx:
            tx.record(AuditEntry(Audit.USER_ADD, "ann", str(number)))
    intruder.execute("UPDATE audit SET actor = 'somebody else'")
    assert len(verify(installation).problems) == 20


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_change_of_any_character_of_any_row_is_found(
    recorded: tuple[Installation, sqlite3.Connection], data: st.DataObject
) -> None:
    installation, intruder = recorded
    table, column = data.draw(
        st.sampled_from([pair for pair in CHANGES if pair[1] not in ("at", "duration_microseconds")])
    )
    rows = intruder.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY rowid").fetchall()
    row_id, text = data.draw(st.sampled_from(rows))
    changed = data.draw(st.text(max_size=40).filter(lambda other: other != text and "\x00" not in other))
    intruder.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row_id))
    assert verify(installation).problems != []
    intruder.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (text, row_id))
    assert verify(installation).problems == []
