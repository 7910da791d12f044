"""An installation on loopback with one user, one device and a short-lived certificate, served by the real program."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cryptography import x509

from evertunnel.accounts import build_processes
from evertunnel.connector.enrolment import load_device_identity, request_certificate
from evertunnel.keystore import Keystore
from evertunnel.pki.keys import PublicKey, encode_public_key
from evertunnel.storage.gateways import get_gateway, radius_secret_context
from evertunnel.storage.store import Store

USER = "alice@corp.example"
PASSWORD = "bench-password-of-alice"
DEVICE = "laptop1.corp.example"
GATEWAY = "bench"
_USER_BASE = 61_600


class Installation:
    """Serves until closed: in SQLite, unless a database's URL is given. Uses some ports from `first_port` on."""

    def __init__(self, folder: Path, *, first_port: int, database_url: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.database_url = database_url or f"sqlite:///{self.state}/data/evertunnel.db"
        self.radius_port, self.http_port = first_port + 812, first_port + 80
        self._https_port, self._gate_port = first_port + 443, first_port + 118
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make it, serve it, fill it."""
        self.initialise(*(("--database-url", self.database_url) if self.database_url.startswith("postgresql:") else ()))
        self.serve()
        self.run("policy", "set-up")
        self.run("user", "add", USER, "--password", text=PASSWORD + "\n")
        self.run("group", "join", "VPN Users", "--user", USER)
        self.run("device", "add", DEVICE)
        self.run("device", "assign", DEVICE, USER)
        self.run("device", "report", DEVICE, "--compliant")
        self.run("certificate", "issue", "--device", DEVICE, "--out", str(self.folder / "device"))
        # Nobody listens on the control socket: this gateway only asks.
        self.run(
            "gateway", "add", GATEWAY, "--public-name", "localhost", "--device-pool", "10.30.0.0/24",
            "--user-pool", "10.31.0.0/24", "--device-network", "10.20.0.0/16", "--user-network", "10.20.0.0/16",
            "--vici-socket", str(self.folder / "nobody.vici"),
        )  # fmt: skip

    def initialise(self, *options: str) -> None:
        """Make it, with nothing in it."""
        self.run(
            "init", "--organisation", "Bench", "--public-name", "localhost", "--user-base", str(_USER_BASE),
            "--listen-radius", f"127.0.0.1:{self.radius_port}", "--listen-http", f"127.0.0.1:{self.http_port}",
            "--listen-https", f"127.0.0.1:{self._https_port}", "--listen-gate", f"127.0.0.1:{self._gate_port}",
            *options,
        )  # fmt: skip

    def restart(self, *, radius_workers: int, awake: str = "needed") -> None:
        """Serve with so many RADIUS workers, of which as many as needed or `all` take new logins."""
        self.close()
        config = self.state / "evertunnel.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith("radius_workers")]
        settings = [f"radius_workers = {radius_workers}", f'radius_workers_awake = "{awake}"']
        config.write_text("\n".join([*settings, *lines, ""]))
        self.serve()

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=20)

    def find_processes(self) -> dict[str, list[int]]:
        """Every process of the server by its name, which its user tells."""
        assert self._server is not None
        names = {int(user): name for name, user in build_processes(_USER_BASE).model_dump().items()}
        processes = {"supervisor": [self._server.pid]}
        for pid in list_children(self._server.pid):
            processes.setdefault(names[Path(f"/proc/{pid}").stat().st_uid], []).append(pid)
        return processes

    def read_radius_secret(self, gateway: str = GATEWAY) -> str:
        """The secret of a gateway."""
        store = Store(self.database_url)
        with store.read() as connection:
            row = get_gateway(connection, gateway)
        store.close()
        return Keystore(self.state).unseal(row.radius_secret_sealed, context=radius_secret_context(row.id)).decode()

    def write_client_files(self) -> None:
        """client.pem (short-lived certificate and chain), client.key, root.pem below the folder."""
        issued = request_certificate(
            f"https://localhost:{self._https_port}", load_device_identity(self.folder / "device"), USER, PASSWORD
        )
        (self.folder / "client.pem").write_text(issued.certificate_pem + "".join(issued.chain_pem))
        (self.folder / "client.key").write_text(issued.key_pem)
        for row in self.json("certificate", "authorities"):
            (self.folder / f"{row['name']}.pem").write_text(row["pem"])

    def write_server_files(self) -> None:
        """The policy server's own certificate, chain and key, for a peer that must have the same."""
        row = next(
            row
            for row in self.json("certificate", "list")
            if row["kind"] == "policy-server"
            and _public_key(self.json("certificate", "show", row["id"])["pem"]) == self._radius_public_key()
        )
        shown = self.json("certificate", "show", row["id"])
        (self.folder / "server.pem").write_text(shown["pem"] + (self.folder / "issuing.pem").read_text())
        (self.folder / "server.key").write_bytes((self.state / "keys" / "radius" / "policy-server.pem").read_bytes())

    def serve(self) -> None:
        """Returns when the admin API answers."""
        with (self.folder / "serve.log").open("ab") as log:
            self._server = subprocess.Popen(self._command("serve"), stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while self.run("user", "list", check=False).returncode != 0:
            if time.monotonic() > deadline:
                sys.exit(f"the server did not start; see {self.folder}/serve.log")
            time.sleep(0.1)

    def json(self, *arguments: str) -> Any:
        """The JSON a command prints."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def run(self, *arguments: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of ours."""
        done = subprocess.run(self._command(*arguments), input=text, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            sys.exit(f"evertunnel {' '.join(arguments)}: {done.stderr}")
        return done

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "evertunnel", "--state", str(self.state), *arguments]

    def _radius_public_key(self) -> bytes:
        return encode_public_key(Keystore(self.state).load_key("radius", "policy-server").public_key())


def _public_key(pem: str) -> bytes:
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, PublicKey)
    return encode_public_key(key)


def list_children(parent: int) -> list[int]:
    """Processes directly below one."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in listed.split()]
