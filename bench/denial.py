"""Milliseconds from a denial's commit to the last packet through the tunnel, in the lab with its two gateways."""

import json
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from evertunnel.lab.lab import DEVICE, USER, USER_TUNNEL, Lab, wait_for
from evertunnel.lab.network import CORP_INTRANET_ADDRESS

_TIMES = 20
_GATEWAYS = 2
_PORT = 9
_QUIET_SECONDS = 1.0
_ARRIVAL = struct.Struct("d")


@dataclass(frozen=True, slots=True)
class Denial:
    """One denial. Both numbers count from the moment that was committed as the denial's."""

    last_packet_ms: float
    confirmed_ms: float


def measure_denials(folder: Path) -> list[Denial]:
    """Deny a user with a busy tunnel, again and again; the tunnel is to either of two gateways by turns."""
    lab = Lab(folder / "lab", prefix="evertunnel-bench")
    arrivals = folder / "arrivals"
    lab.down()
    try:
        lab.up(lambda _text: None)
        lab.add_second_gateway(lambda _text: None)
        lab.run("device", "report", DEVICE, "--compliant")
        lab.processes.start(
            "receiver",
            lab.network.wrap("corp", sys.executable, "-m", "bench.traffic", "receive", CORP_INTRANET_ADDRESS,
                             str(_PORT), str(arrivals)),
        )  # fmt: skip
        return [_measure(lab, arrivals, second=number % 2 == 1) for number in range(_TIMES)]
    finally:
        lab.down()


def _measure(lab: Lab, arrivals: Path, *, second: bool) -> Denial:
    connect = lab.start_connect(second=second)
    wait_for("the user tunnel", lambda: lab.find_address(USER_TUNNEL) is not None)
    source = lab.find_address(USER_TUNNEL) or ""
    sender = subprocess.Popen(
        lab.network.wrap("laptop", sys.executable, "-m", "bench.traffic", "send", CORP_INTRANET_ADDRESS, str(_PORT),
                         source)
    )  # fmt: skip
    try:
        before = _count(arrivals)
        wait_for("packets through the tunnel", lambda: _count(arrivals) > before + 100)
        denial = json.loads(lab.run("deny", "user", USER, "--reason", "measurement", "--json").stdout)
        time.sleep(_QUIET_SECONDS)
        data = arrivals.read_bytes()
        (last,) = _ARRIVAL.unpack_from(data, len(data) - _ARRIVAL.size)
        # Still arriving would mean that the tunnel lives.
        if _count(arrivals) != len(data) // _ARRIVAL.size:
            sys.exit("packets still come through the tunnel of a denied user")
    finally:
        sender.kill()
        sender.wait()
    connect.wait(timeout=20)
    lab.run("allow", "user", USER)
    denied_at = datetime.fromisoformat(denial["denied_at"]).timestamp()
    confirmed = {each["gateway"]: each["milliseconds"] for each in denial["gateways"] if each["milliseconds"]}
    if len(confirmed) != _GATEWAYS:
        sys.exit(f"the denial was confirmed on {', '.join(confirmed) or 'no gateway'} only")
    return Denial(max(0.0, (last - denied_at) * 1000), max(confirmed.values()))


def _count(arrivals: Path) -> int:
    return arrivals.stat().st_size // _ARRIVAL.size if arrivals.exists() else 0
