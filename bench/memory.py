"""What twenty thousand logins leave behind in the memory of the policy server."""

from collections.abc import Callable
from pathlib import Path

from bench.eap_tls import measure
from bench.installation import Installation

_FIRST, _ALL = 2_000, 20_000


def measure_growth(installation: Installation) -> tuple[int, float]:
    """How many logins there were, and by how many MB the policy server grew after the first two thousand."""
    done, after_first = 0, 0.0
    while done < _ALL:
        done += measure(installation, installation.radius_port, installation.find_processes).logins
        if done >= _FIRST and not after_first:
            after_first = _read_resident_mb(installation.find_processes)
        print(f"{done} logins: {_read_resident_mb(installation.find_processes):.1f} MB", flush=True)
    return done, _read_resident_mb(installation.find_processes) - after_first


def _read_resident_mb(find_processes: Callable[[], dict[str, list[int]]]) -> float:
    """Memory of all its workers that no other process shares."""
    total = 0
    for pid in find_processes()["radius"]:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Dirty:", "Private_Clean:")):
                total += int(line.split()[1])
    return total / 1024
