"""A swanctl.conf that the exporter wrote brings both tunnels up against the gateway it was made from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evertunnel.lab.lab import GATEWAY, PASSWORD, PUBLIC_NAME, USER, wait_for
from evertunnel.lab.network import GATEWAY_ADDRESS
from tests.lab.conftest import Bench
from tests.lab.test_device_connection import SHORT_LIVED_SCRIPT


def load(bench: Bench, folder: Path, *, certificate: str, key: str, chain: list[str], conf: Path) -> None:
    """What an administrator does with the file: certificates into /etc/swanctl, then `swanctl --load-all`."""
    root = (bench.lab.folder / "laptop" / "root.pem").read_text()
    for name, text in (("x509/evertunnel.pem", certificate), ("private/evertunnel.pem", key),
                       ("x509ca/evertunnel-root.pem", root), ("x509ca/chain.pem", "".join(chain))):  # fmt: skip
        if text:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    command = ["swanctl", "--load-all", "--file", str(conf), "--uri", f"unix://{bench.lab.laptop_vici}"]
    done = subprocess.run(
        bench.lab.network.wrap("laptop", *command), env={**os.environ, "SWANCTL_DIR": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def export(bench: Bench, folder: Path, tunnel: str, *options: str) -> Path:
    conf = folder / f"{tunnel}.conf"
    bench.run("profile", "create", f"lab {tunnel}", "--tunnel", tunnel, "--gateway", GATEWAY)
    bench.run("profile", "export", f"lab {tunnel}", "--format", "swanctl", "--out", str(conf), "--address",
              GATEWAY_ADDRESS, *options)  # fmt: skip
    return conf


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def end(bench: Bench, tunnel: str) -> None:
    vici = bench.laptop()
    vici.unload_connection(f"evertunnel-{tunnel}")
    for found in vici.list_tunnels():
        vici.terminate(int(found["uniqueid"]))
    vici.close()
    bench.forget_credentials()
    wait_for("the end of the session", lambda: not bench.sessions(tunnel))
    bench.run("profile", "remove", f"lab {tunnel}")


def test_the_device_tunnel_comes_up_from_the_exported_file(bench: Bench, folder: Path) -> None:
    conf = export(bench, folder, "device")
    laptop = bench.lab.folder / "laptop"
    texts = [(laptop / name).read_text() for name in ("certificate.pem", "key.pem")]
    load(bench, folder, certificate=texts[0], key=texts[1], chain=[], conf=conf)
    wait_for("the device tunnel", lambda: bool(bench.sessions("device")))
    end(bench, "device")


def test_the_user_tunnel_comes_up_from_the_exported_file(bench: Bench, folder: Path) -> None:
    conf = export(bench, folder, "user", "--identity", USER)
    command = [sys.executable, "-c", SHORT_LIVED_SCRIPT, f"https://{PUBLIC_NAME}", str(bench.lab.folder / "laptop"),
               USER, PASSWORD, GATEWAY_ADDRESS]  # fmt: skip
    printed = subprocess.run(bench.lab.network.wrap("laptop", *command), capture_output=True, check=True).stdout
    issued = json.loads(printed)
    load(
        bench,
        folder,
        certificate=issued["certificate_pem"],
        key=issued["key_pem"],
        chain=issued["chain_pem"],
        conf=conf,
    )
    wait_for("the user tunnel", lambda: bool(bench.sessions("user")))
    end(bench, "user")
