"""make bench: measure, print, write docs/benchmarks.md.

python -m bench [PART...]: all parts, or some, which are printed only: the page is of one run.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests import postgresql

from bench.access import measure_access
from bench.denial import measure_denials
from bench.eap_tls import Logins, measure
from bench.freeradius import PORT, FreeRADIUS
from bench.handshake import measure_handshake
from bench.installation import Installation, list_children
from bench.many_sessions import measure_many_sessions
from bench.memory import measure_growth
from bench.methods import measure_methods
from bench.methods_report import describe_methods
from bench.profiles import measure_profiles
from bench.replay import measure_replay
from bench.report import (
    describe_access,
    describe_denials,
    describe_logins,
    describe_machine,
    describe_profiles,
    describe_replay,
    describe_tunnels,
    describe_workers,
    write_report,
)
from bench.tunnels import measure_tunnels
from bench.workers import measure_workers
from evertunnel import clock

_ROUNDS = 3


def main() -> None:
    """Everything in order, or what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, and write docs/benchmarks.md.")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"print only some of: {', '.join(_PARTS)}; nothing is written"
    )
    parts = parser.parse_args().parts
    if unknown := [part for part in parts if part not in _PARTS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(_PARTS)}")
    if os.geteuid() != 0:
        sys.exit("make bench needs root: it makes network namespaces and runs each process as its own user")
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("ended"))
    sections: list[str] = []
    for name, measure_part in _PARTS.items():
        if not parts or name in parts:
            print(name, flush=True)
            with tempfile.TemporaryDirectory(prefix="evertunnel-bench-") as folder:
                Path(folder).chmod(0o755)
                sections += measure_part(Path(folder))
    if not parts:
        write_report(sections, clock.now())
    print("\n".join([describe_machine(clock.now()), *sections]))


def _measure_logins(folder: Path) -> Sequence[str]:
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
        return [describe_logins(logins), describe_workers(workers, *measure_growth(sqlite))]


def _measure_methods(folder: Path) -> Sequence[str]:
    return [describe_methods(measure_methods(folder))]


def _measure_denials(folder: Path) -> Sequence[str]:
    denials = measure_denials(folder)
    print("ten thousand sessions", flush=True)
    return [describe_denials(denials, measure_many_sessions(folder))]


def _measure_tunnels(folder: Path) -> Sequence[str]:
    return [describe_tunnels(*measure_tunnels(folder))]


def _measure_decisions(_folder: Path) -> Sequence[str]:
    return [
        describe_profiles(*measure_profiles()),
        describe_access(*measure_access()),
        describe_replay(*measure_replay()),
    ]


def _start(stack: ExitStack, installation: Installation) -> Installation:
    stack.callback(installation.close)
    installation.start()
    installation.write_client_files()
    installation.write_server_files()
    return installation


# Each gives its sections of the page.
_PARTS: Mapping[str, Callable[[Path], Sequence[str]]] = {
    "logins": _measure_logins,
    "methods": _measure_methods,
    "denials": _measure_denials,
    "tunnels": _measure_tunnels,
    "decisions": _measure_decisions,
}


if __name__ == "__main__":
    main()
