"""Server CPU per full EAP-TLS login and logins a second, with two RADIUS workers against one.

Two as they are, of which one takes new logins while it has time left, and two that are always awake.
"""

from bench.eap_tls import Run, measure
from bench.installation import Installation

_ROUNDS = 5
ONE, TWO, TWO_AWAKE = (1, "needed"), (2, "needed"), (2, "all")

Setting = tuple[int, str]


def measure_workers(installation: Installation) -> dict[Setting, list[Run]]:
    """Alternated runs, by number of workers and `radius_workers_awake`."""
    runs: dict[Setting, list[Run]] = {ONE: [], TWO: [], TWO_AWAKE: []}
    for number in range(_ROUNDS):
        for (workers, awake), measured in runs.items():
            installation.restart(radius_workers=workers, awake=awake)
            measured.append(measure(installation, installation.radius_port, installation.find_processes))
        print(
            f"round {number + 1}: one worker {runs[ONE][-1].cpu_ms_per_login:.2f} ms, "
            f"two {runs[TWO][-1].cpu_ms_per_login:.2f} ms, "
            f"two always awake {runs[TWO_AWAKE][-1].cpu_ms_per_login:.2f} ms per login",
            flush=True,
        )
    return runs
