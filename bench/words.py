"""Small words of the report."""

import statistics
import subprocess
from collections.abc import Sequence

from bench.eap_tls import Run


def say(holds: bool) -> str:
    """Whether a bar is met."""
    return "met" if holds else "not met"


def median(runs: Sequence[Run]) -> float:
    """CPU milliseconds per login."""
    return statistics.median(run.cpu_ms_per_login for run in runs)


def join(values: Sequence[float]) -> str:
    """All of them, to the hundredth."""
    return ", ".join(f"{value:.2f}" for value in values)


def list_runs(runs: Sequence[Run]) -> str:
    """CPU milliseconds per login of each."""
    return join([run.cpu_ms_per_login for run in runs])


def find_freeradius() -> str:
    """Its version."""
    printed = subprocess.run(["freeradius", "-v"], capture_output=True, text=True, check=True).stdout
    return printed.split("Version ")[1].split(",")[0]
