"""A real installation: `evertunnel init` and `evertunnel serve` on loopback, filled through its own commands."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.connector.enrolment import load_device_identity, request_certificate
from evertunnel.model import Authority
from evertunnel.state_folder import StateFolder
from evertunnel.storage.gateways import get_gateway, radius_secret_context
from evertunnel.storage.store import Store
from tests.interop.eap.eapol import Supplicant
from tests.interop.server import OFFSETS
from tests.mmdb import build_mmdb, city
from tests.peers.certificates import Credential, PrivateKey, new_key
from tests.ports import find_port

# The name has to lead here without anybody's help.
PUBLIC_NAME = "localhost"
# alice gets short-lived certificates, bob has a long-lived one, carol belongs to nothing that any policy grants.
ALICE, BOB, CAROL = "alice@corp.example", "bob@corp.example", "carol@corp.example"
DEVICE = "laptop1.corp.example"
PASSWORD = "a password for tests"
# Numbers without accounts: nothing stays behind on this machine.
USER_BASE = 61_800
_READY_WITHIN_SECONDS = 30.0
# On a machine with one core, too.
RADIUS_WORKERS = 2

PLACES = {"192.0.2.0/24": city("DE", 52.52, 13.4), "203.0.113.0/24": city("AU", -33.87, 151.21)}

ACCESS_POLICY = {
    "displayName": "Short-lived: require a compliant device",
    "state": "enabled",
    "conditions": {
        "users": {"includeGroups": ["Short-lived"]},
        "applications": {"includeApplications": ["VPN"]},
        "clientAppTypes": ["all"],
    },
    "grantControls": {"operator": "OR", "builtInControls": ["compliantDevice"]},
}


class Live:
    """One installation that runs. `files` is a folder for what tests write."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        self.state = StateFolder(folder / "state")
        self.ports = {name: find_port() for name in ("radius", "accounting", "http", "https", "gate", "radsec")}
        listen = [f"--listen-{name}=127.0.0.1:{port}" for name, port in self.ports.items()]
        base = ["--user-base", str(USER_BASE)] if os.geteuid() == 0 else []
        self.run("init", "--organisation", "Test", "--public-name", PUBLIC_NAME, *listen, *base)
        config = self.state.path / "evertunnel.toml"
        settings = (
            f'radius_workers = {RADIUS_WORKERS}\nradius_workers_awake = "all"\ncountry_database = "places.mmdb"\n'
        )
        config.write_text(settings + config.read_text())
        places = self.state.path / "places.mmdb"
        places.write_bytes(build_mmdb(PLACES))
        places.chmod(0o644)
        self.log_file = folder / "serve.log"
        with self.log_file.open("wb") as log:
            self.server = subprocess.Popen(self.build_command("serve"), stdout=log, stderr=log)
        self._wait_until_it_answers()
        self._fill()
        self.secret = self._open_secret()

    @property
    def radius_user(self) -> int:
        """The user of the RADIUS processes, when started as root."""
        return USER_BASE + OFFSETS["radius"]

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(timeout=30)
        errors = [line for line in self.log_file.read_text(encoding="utf-8").splitlines() if '"level":"error"' in line]
        assert errors == [], "whatever came over the wire, nothing of it may be an error of ours"

    def build_command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "evertunnel", "--state", str(self.state.path), *arguments]

    def run(self, *arguments: str, password: str | None = None, check: bool = True) -> str:
        """A command of ours; returns what it printed."""
        done = subprocess.run(
            self.build_command(*arguments),
            input=None if password is None else password + "\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, f"evertunnel {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def list_attempts(self, limit: int) -> list[dict[str, Any]]:
        """The newest first."""
        return list(json.loads(self.run("attempt", "list", "--json", "--limit", str(limit))))

    def issue(self, *owner: str, key: PrivateKey | None = None, days: float | None = None) -> Credential:
        """A certificate through `evertunnel certificate issue`, for a key of ours."""
        key = key or new_key()
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        out = Path(tempfile.mkdtemp(dir=self.files))
        (out / "request.pem").write_bytes(request.public_bytes(Encoding.PEM))
        lifetime = [] if days is None else ["--lifetime-days", str(days)]
        self.run("certificate", "issue", *owner, "--csr", str(out / "request.pem"), "--out", str(out), *lifetime)
        chain = (out / "chain.pem").read_bytes()
        return Credential(
            x509.load_pem_x509_certificate((out / "certificate.pem").read_bytes()),
            key,
            tuple(x509.load_pem_x509_certificates(chain)) if chain else (),
        )

    def enrol(self) -> bytes:
        """Key, short-lived certificate and chain as alice's connector gets them."""
        device = load_device_identity(self.files / "laptop1")
        issued = request_certificate(f"https://{PUBLIC_NAME}:{self.ports['https']}", device, ALICE, PASSWORD)
        return (issued.key_pem + issued.certificate_pem + "".join(issued.chain_pem)).encode()

    def load_authority(self, authority: Authority) -> Credential:
        """An authority with its key, as a thief of the signer's folder has it."""
        key = self.state.keystore.load_key("signer", authority.value)
        rows = json.loads(self.run("certificate", "authorities", "--json"))
        pem = next(row["pem"] for row in rows if row["name"] == authority.value)
        return Credential(x509.load_pem_x509_certificate(pem.encode()), key)

    @property
    def root_file(self) -> Path:
        return self.files / "laptop1" / "root.pem"

    def _fill(self) -> None:
        for user in (ALICE, BOB, CAROL):
            self.run("user", "add", user, "--password", password=PASSWORD)
        self.run("device", "add", DEVICE)
        self.run("device", "assign", DEVICE, ALICE)
        self.run("device", "report", DEVICE, "--compliant")
        for group, user in (("Short-lived", ALICE), ("Long-lived", BOB)):
            self.run("group", "add", group)
            self.run("group", "join", group, "--user", user)
        demand = ["--certificate-oid", "1.3.6.1.4.1.311.87"]
        self.run("policy", "network", "add", "Short", "--grant", "--tunnel", "user", "--group", "Short-lived", *demand)
        self.run("policy", "network", "add", "Long", "--grant", "--tunnel", "user", "--group", "Long-lived")
        (self.files / "access.json").write_text(json.dumps(ACCESS_POLICY), encoding="utf-8")
        self.run("policy", "access", "import", str(self.files / "access.json"))
        self.run("certificate", "issue", "--device", DEVICE, "--out", str(self.files / "laptop1"))
        self.run(
            "gateway", "add", "gw1", "--public-name", PUBLIC_NAME,
            "--device-pool", "10.30.0.0/20", "--user-pool", "10.31.0.0/20",
            "--device-network", "10.20.0.10/32", "--user-network", "10.20.0.0/16",
            "--radius-address", "127.0.0.1", "--vici-socket", str(self.files / "no.vici"),
        )  # fmt: skip

    def _open_secret(self) -> bytes:
        store = Store(self.state.database_url)
        with store.read() as connection:
            row = get_gateway(connection, "gw1")
        store.close()
        return self.state.keystore.unseal(row.radius_secret_sealed, context=radius_secret_context(row.id))

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while "No users yet" not in self.run("user", "list", check=False):
            assert self.server.poll() is None, "evertunnel serve ended"
            assert time.monotonic() < deadline, "evertunnel serve does not answer"
            time.sleep(0.05)


@contextmanager
def running_live() -> Iterator[Live]:
    """One of its own, for tests that change what others need."""
    # Not below pytest's own folder, which only its owner may enter: the processes give up root.
    folder = Path(tempfile.mkdtemp(prefix="evertunnel-test-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        live = Live(folder)
        stack.callback(live.close)
        yield live


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    with running_live() as made:
        yield made


@pytest.fixture
def supplicant(live: Live, tmp_path: Path) -> Supplicant:
    return Supplicant(port=live.ports["radius"], secret=live.secret, root_file=live.root_file, folder=tmp_path)


class Wire:
    """A UDP socket to the policy server, as a gateway has it."""

    def __init__(self, own: socket.socket) -> None:
        self._own = own

    def send(self, data: bytes) -> None:
        self._own.send(data)

    def receive(self, *, seconds: float = 20.0) -> bytes | None:
        """The next datagram, or None after so long."""
        self._own.settimeout(seconds)
        try:
            return self._own.recv(4_096)
        except TimeoutError:
            return None

    def carry(self, data: bytes) -> bytes | None:
        self.send(data)
        return self.receive()


@contextmanager
def make_wires(live: Live) -> Iterator[Callable[..., Wire]]:
    """Makes sockets, each with a port of its own; to the accounting port where that is asked for."""
    with ExitStack() as stack:

        def make(address: str = "127.0.0.1", *, port: str = "radius") -> Wire:
            own = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            own.bind((address, 0))
            own.connect(("127.0.0.1", live.ports[port]))
            return Wire(own)

        yield make


@pytest.fixture
def new_wire(live: Live) -> Iterator[Callable[..., Wire]]:
    with make_wires(live) as make:
        yield make
