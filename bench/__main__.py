"""make bench: measure, print, write docs/benchmarks.md."""

import os
import signal
import sys
import tempfile
from pathlib import Path

from bench.denial import measure_denials
from bench.eap_tls import Run, measure, write_supplicant
from bench.freeradius import PORT, FreeRADIUS
from bench.installation import RADIUS_PORT, Installation
from bench.profiles import measure_profiles
from bench.report import write_report
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
        ours, theirs, workers = measure_eap_tls(folder)
        print("denials", flush=True)
        denials = measure_denials(folder)
    print(write_report(ours, theirs, workers, denials, measure_profiles(), clock.now()))


def measure_eap_tls(folder: Path) -> tuple[list[Run], list[Run], dict[int, list[Run]]]:
    """Alternated runs: ours, theirs, ours, theirs, ..., and then ours by number of workers."""
    installation, freeradius = Installation(folder), FreeRADIUS(folder)
    ours: list[Run] = []
    theirs: list[Run] = []
    try:
        installation.start()
        installation.write_client_files()
        installation.write_server_files()
        secret = installation.read_radius_secret()
        freeradius.start(installation, secret)
        supplicant = write_supplicant(folder)
        for number in range(_ROUNDS):
            ours.append(measure(supplicant, RADIUS_PORT, secret, lambda: installation.pids))
            theirs.append(measure(supplicant, PORT, secret, lambda: freeradius.pids))
            print(
                f"round {number + 1}: Evertunnel {ours[-1].cpu_ms_per_login:.2f} ms, "
                f"FreeRADIUS {theirs[-1].cpu_ms_per_login:.2f} ms per login",
                flush=True,
            )
        freeradius.close()
        workers = measure_workers(installation, supplicant, secret)
    finally:
        freeradius.close()
        installation.close()
    return ours, theirs, workers


if __name__ == "__main__":
    main()
