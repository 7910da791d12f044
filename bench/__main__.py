"""make bench: measure, print, write docs/benchmarks.md."""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests import postgresql

from bench.access import measure_access
from bench.denial import measure_denials
from bench.eap_tls import Logins, Run, measure
from bench.freeradius import PORT, FreeRADIUS
from bench.handshake import measure_handshake
from bench.installation import Installation, list_children
from bench.many_sessions import measure_many_sessions
from bench.memory import measure_growth
from bench.profiles import measure_profiles
from bench.replay import measure_replay
from bench.report import Measured, write_report
from bench.tunnels import measure_tunnels
from bench.workers import measure_workers
from evertunnel import clock

_ROUNDS = 3


def main() -> None:
    """Everything, in order."""
    if os.geteuid() != 0:
        sys.exit("make bench needs root: it makes network namespaces and runs each process as its own user")
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("ended"))
    with tempfile.TemporaryDirectory(prefix="evertunnel-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        logins, workers, growth = measure_logins(folder)
        print("denials", flush=True)
        denials = measure_denials(folder)
        print("tunnels", flush=True)
        tunnels = measure_tunnels(folder)
        print("ten thousand sessions", flush=True)
        many = measure_many_sessions(folder)
    measured = Measured(
        logins, workers, growth, denials, many, tunnels, measure_profiles(), measure_access(), measure_replay()
    )
    print(write_report(measured, clock.now()))


def measure_logins(folder: Path) -> tuple[Logins, dict[int, list[Run]], tuple[int, float]]:
    """Alternated runs: with SQLite, with PostgreSQL, FreeRADIUS, the handshake alone, and again.

    Then by number of workers, and twenty thousand.
    """
    logins = Logins([], [], [], [])
    with ExitStack() as stack:
        # Durable: it waits for the disk before a commit is done, as it must.
        database = stack.enter_context(postgresql.running(durable=True, trusting=True))
        url = database.url(database.make_database())
        sqlite = _start(stack, Installation(folder / "sqlite", first_port=21_000))
        shared = _start(stack, Installation(folder / "postgresql", first_port=23_000, database_url=url))
        freeradius = FreeRADIUS(folder)
        stack.callback(freeradius.close)
        freeradius.start(sqlite, sqlite.read_radius_secret())

        def find_shared_processes() -> dict[str, list[int]]:
            return shared.find_processes() | {"PostgreSQL": [database.pid, *list_children(database.pid)]}

        for number in range(_ROUNDS):
            logins.sqlite.append(measure(sqlite, sqlite.radius_port, sqlite.find_processes))
            logins.postgresql.append(measure(shared, shared.radius_port, find_shared_processes))
            logins.freeradius.append(measure(sqlite, PORT, freeradius.find_processes))
            logins.handshake_ms.append(measure_handshake(sqlite.folder))
            print(f"round {number + 1}: {logins.describe_last()}", flush=True)
        freeradius.close()
        shared.close()
        workers = measure_workers(sqlite)
        return logins, workers, measure_growth(sqlite)


def _start(stack: ExitStack, installation: Installation) -> Installation:
    stack.callback(installation.close)
    installation.start()
    installation.write_client_files()
    installation.write_server_files()
    return installation


if __name__ == "__main__":
    main()
