"""Many eapol_test of wpa_supplicant side by side, each with logins one after the other."""

import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_AT_ONCE = 16
_SECONDS = 60
_SUCCESS = "CTRL-EVENT-EAP-SUCCESS"
_RESUMED = re.compile(r"Handshake finished - resumed=1")


@dataclass(frozen=True, slots=True)
class Supplicant:
    """One process. `source` is the gateway's address, `station` the client's as the gateway tells it."""

    configuration: Path
    logins: int
    source: str = "127.0.0.1"
    station: str = ""


def log_in(supplicants: Sequence[Supplicant], port: int, secret: str) -> list[str]:
    """All of them, 16 at a time; returns what each said. Ends the program if a login failed."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outputs = list(pool.map(lambda each: _run(each[0], each[1], port, secret), enumerate(supplicants)))
    for supplicant, output in zip(supplicants, outputs, strict=True):
        if count_logins(output) != supplicant.logins:
            done, asked = sum(map(count_logins, outputs)), sum(each.logins for each in supplicants)
            sys.exit(f"only {done} of {asked} logins succeeded; {supplicant.configuration}:\n{output[-1500:]}")
    return outputs


def count_logins(output: str) -> int:
    """Those that succeeded."""
    return output.count(_SUCCESS)


def count_resumed(output: str) -> int:
    """TLS sessions that were resumed, inside PEAP as well."""
    return len(_RESUMED.findall(output))


def _run(number: int, supplicant: Supplicant, port: int, secret: str) -> str:
    command = [
        "eapol_test", "-c", str(supplicant.configuration), "-a", "127.0.0.1", "-p", str(port), "-s", secret,
        "-A", supplicant.source, "-r", str(supplicant.logins - 1), "-t", str(_SECONDS),
        *([f"-N31:s:{supplicant.station}"] if supplicant.station else []),
    ]  # fmt: skip
    # To a file: a supplicant whose pipe is full stops, and what is measured is the pipe.
    log = supplicant.configuration.with_name(f"client-{number}.log")
    with log.open("wb") as file:
        subprocess.run(command, stdout=file, stderr=file, check=False)
    return log.read_text(errors="replace")
