"""The only way to change policies and what they name: tests that pass before must pass after, or nothing is changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from evertunnel.access.policy_test_results import PolicyTestsError
from evertunnel.actions.run_policy_tests import Bench
from evertunnel.storage.store import Store, Transaction

_MEND = (
    "try the change with `evertunnel policy what-if`, or change or remove the tests "
    "(evertunnel policy test remove), which the audit shows"
)


@contextmanager
def write_policies(store: Store, now: datetime) -> Iterator[Transaction]:
    """A writing transaction that is undone if a test fails by what it leaves behind and did not fail before.

    One that failed already is no reason to refuse: a set that fails must be possible to mend, step by step. What can
    be compiled before is, as the transaction holds the ledger. Raises PolicyTestsError.
    """
    bench = Bench()
    with store.read() as connection:
        before = bench.set_up(connection)
    with store.write(now) as tx:
        if tx.epoch != before.epoch:  # somebody was faster
            before = bench.set_up(tx.connection, epoch=tx.epoch)
        yield tx
        failed = bench.set_up(tx.connection, epoch=tx.epoch).list_failed(tx.now)
        if failed:
            already = {result.name for result in before.list_failed(tx.now)}
            if newly := [result for result in failed if result.name not in already]:
                raise PolicyTestsError(newly, mend=_MEND)
