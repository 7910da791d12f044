"""Server CPU per full EAP-TLS login and logins a second, with two RADIUS workers against one."""

from bench.eap_tls import Run, measure
from bench.installation import Installation

_ROUNDS = 5


def measure_workers(installation: Installation) -> dict[int, list[Run]]:
    """Alternated runs, by number of workers."""
    runs: dict[int, list[Run]] = {1: [], 2: []}
    for number in range(_ROUNDS):
        for workers, measured in runs.items():
            installation.restart(radius_workers=workers)
            measured.append(measure(installation, installation.radius_port, installation.find_processes))
        print(
            f"round {number + 1}: one worker {runs[1][-1].cpu_ms_per_login:.2f} ms, "
            f"two {runs[2][-1].cpu_ms_per_login:.2f} ms per login",
            flush=True,
        )
    return runs
