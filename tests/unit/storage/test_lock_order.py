"""Why a login takes the ledger's row as a denial does, and not FOR SHARE: an experiment, kept."""

import threading
import time

import psycopg

from tests.postgresql import Original

LOGINS = 4
HELD_SECONDS = 0.02


def measure_denial(url: str, lock: str) -> float:
    """How long a denial waits while logins overlap: each holds the row for a commit's time, again and again."""
    stopped = threading.Event()

    def log_in(delay: float) -> None:
        time.sleep(delay)
        with psycopg.connect(url) as connection:
            while not stopped.is_set():
                with connection.transaction():
                    connection.execute(f"SELECT * FROM ledger {lock}")
                    time.sleep(HELD_SECONDS)

    threads = [threading.Thread(target=log_in, args=(n * HELD_SECONDS / LOGINS,)) for n in range(LOGINS)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    began = time.monotonic()
    with psycopg.connect(url) as connection:
        connection.execute("SET lock_timeout = '2s'")
        try:
            connection.execute("SELECT * FROM ledger FOR UPDATE")
        except psycopg.errors.LockNotAvailable:
            connection.rollback()
    waited = time.monotonic() - began
    stopped.set()
    for thread in threads:
        thread.join()
    return waited


def test_a_denial_waits_its_turn_behind_logins(postgresql_original: Original) -> None:
    # With FOR SHARE each new login passes the denial that waits: 0.4 to more than 2 seconds here, by chance.
    assert measure_denial(postgresql_original.url, "FOR UPDATE") < (LOGINS + 1) * HELD_SECONDS + 0.5
