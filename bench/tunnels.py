"""IKEv2 with EAP-TLS end to end: tunnels a second and the gateway side's CPU, ours against strongSwan alone."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.eap_tls import read_cpu_ms
from bench.installation import list_children
from evertunnel.connector.enrolment import load_device_identity, request_certificate
from evertunnel.connector.tunnel import TunnelPlan, bring_up, take_down
from evertunnel.gateways.strongswan import DEVICE_CONNECTION, USER_CONNECTION, USER_POOL
from evertunnel.lab.lab import DEVICE, PASSWORD, PUBLIC_NAME, USER, Lab
from evertunnel.lab.network import GATEWAY_ADDRESS, USER_NETWORK
from evertunnel.vici_connection import ViciConnection

_TIMES = 60
_NAME = "bench-tunnel"
_ALONE = "bench-alone"


@dataclass(frozen=True, slots=True)
class Tunnels:
    """How many came up in a second, one after the other, and CPU of the gateway's side for each."""

    per_second: float
    cpu_ms: float


def measure_tunnels(folder: Path) -> tuple[Tunnels, Tunnels]:
    """First ours: strongSwan, policy server and record. Then the same strongSwan verifying EAP-TLS itself."""
    lab = Lab(folder / "lab", prefix="evertunnel-bench")
    lab.down()
    gateway = ViciConnection(str(folder / "lab" / "gateway.vici"))
    try:
        lab.up(lambda _text: None)
        lab.run("device", "report", DEVICE, "--compliant")
        plan = _plan(lab)
        charon, serve = lab.processes.find("charon-gateway"), lab.processes.find("serve")
        assert charon is not None and serve is not None
        ours = _measure(lab, plan, [charon, *list_children(serve)])
        certificate = _find_gateway_certificate(lab)
        lab.processes.stop("serve")
        _load_alone(gateway, plan, certificate)
        return ours, _measure(lab, plan, [charon])
    finally:
        gateway.close()
        lab.down()


def _measure(lab: Lab, plan: TunnelPlan, pids: Sequence[int]) -> Tunnels:
    vici = ViciConnection(str(lab.laptop_vici))
    took, before = 0.0, 0.0
    for number in range(_TIMES + 5):
        if number == 5:  # what is loaded lazily is loaded now
            took, before = 0.0, read_cpu_ms({"gateway": pids})["gateway"]
        began = time.monotonic()
        key_id = bring_up(vici, plan)
        took += time.monotonic() - began
        take_down(vici, plan.name, key_id=key_id)
    spent = read_cpu_ms({"gateway": pids})["gateway"] - before
    vici.close()
    return Tunnels(_TIMES / took, spent / _TIMES)


def _plan(lab: Lab) -> TunnelPlan:
    """Alice's tunnel with a certificate of one hour, fetched from within the laptop."""
    device = lab.folder / "laptop"
    command = [sys.executable, "-m", "bench.tunnels", str(device), f"https://{PUBLIC_NAME}", GATEWAY_ADDRESS]
    done = subprocess.run(lab.network.wrap("laptop", *command), capture_output=True, text=True, check=True, timeout=60)
    issued = json.loads(done.stdout)
    return TunnelPlan(
        name=_NAME, gateway_address=GATEWAY_ADDRESS, gateway_name=PUBLIC_NAME, networks=[USER_NETWORK],
        root_pem=(device / "root.pem").read_text(encoding="ascii"), user_name=USER, encap=True, **issued,
    )  # fmt: skip


def _find_gateway_certificate(lab: Lab) -> str:
    rows: list[dict[str, Any]] = json.loads(lab.run("certificate", "list", "--json").stdout)
    row = next(row for row in rows if row["kind"] == "gateway" and row["status"] == "valid")
    return str(json.loads(lab.run("certificate", "show", row["id"], "--json").stdout)["pem"])


def _load_alone(gateway: ViciConnection, plan: TunnelPlan, certificate_pem: str) -> None:
    """Its key stays where we loaded it; ours step aside for a connection that asks nobody."""
    for name in (USER_CONNECTION, DEVICE_CONNECTION):
        gateway.unload_connection(name)
    for pem in (plan.root_pem, *plan.chain_pem):
        gateway.load_certificate(pem, authority=True)
    gateway.load_connection(
        _ALONE,
        {
            "version": "2", "proposals": list(plan.ike_proposals), "send_cert": "always", "unique": "never",
            "encap": "yes", "pools": [USER_POOL],
            "local": {"auth": "pubkey", "certs": [certificate_pem], "id": PUBLIC_NAME},
            "remote": {"auth": "eap-tls", "id": "%any", "eap_id": "%any", "cacerts": [plan.root_pem]},
            "children": {"net": {"local_ts": list(plan.networks), "esp_proposals": list(plan.esp_proposals)}},
        },
    )  # fmt: skip


def main() -> None:
    """In the laptop: print key, certificate and chain as JSON."""
    folder, server, address = sys.argv[1:]
    issued = request_certificate(server, load_device_identity(Path(folder)), USER, PASSWORD, address=address)
    print(
        json.dumps(
            {"key_pem": issued.key_pem, "certificate_pem": issued.certificate_pem, "chain_pem": issued.chain_pem}
        )
    )


if __name__ == "__main__":
    main()
