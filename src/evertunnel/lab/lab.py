"""The lab: a whole installation with a gateway, a laptop and a corporate web server, on namespaces of this machine."""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evertunnel.connector.enrolment import load_device_identity
from evertunnel.connector.tunnel import TunnelPlan, bring_up, find_tunnels, take_down
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.lab.charon import start_charon
from evertunnel.lab.network import (
    CORP_INFRASTRUCTURE_ADDRESS,
    CORP_INTRANET_ADDRESS,
    DEVICE_NETWORK,
    GATEWAY_ADDRESS,
    SECOND_DEVICE_POOL,
    SECOND_GATEWAY_ADDRESS,
    SECOND_GATEWAY_MANAGE_ADDRESS,
    SECOND_USER_POOL,
    SERVER_MANAGE_ADDRESS,
    USER_NETWORK,
    Network,
)
from evertunnel.lab.processes import Processes
from evertunnel.vici_connection import ViciConnection

PUBLIC_NAME = "vpn.example.test"
GATEWAY = "gw1"
USER = "alice@corp.example"
PASSWORD = "lab-password-of-alice"  # noqa: S105  a made-up person in a made-up network
DEVICE = "laptop1.corp.example"
DEVICE_TUNNEL = "lab-device-tunnel"
USER_TUNNEL = "evertunnel-connect"
ANOTHER_TUNNEL = "lab-another-device-tunnel"
# Numbers without accounts: the lab leaves no users behind on this machine.
_USER_BASE = 61_700
_GATEWAY_USER = _USER_BASE + 5
_AGENT_USER = _USER_BASE + 20
SECOND_GATEWAY = "gw2"
SECOND_PUBLIC_NAME = "vpn2.example.test"
AGENTS_PORT = 4433
_PAGE_BYTES = 64 * 1024


class Lab:
    """One lab below one folder."""

    def __init__(self, folder: Path, *, prefix: str = "evertunnel") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.network = Network(prefix)
        self.processes = Processes(folder)
        self.laptop_vici = folder / "laptop.vici"
        self.agent_folder = folder / "gateway2" / "agent"
        self.second_fragment = self.agent_folder / "strongswan" / "strongswan.conf"
        self.second_vici = folder / "gateway2" / "gateway2.vici"

    def up(self, say: Callable[[str], None]) -> None:
        """Build everything. Raises DomainError; what was built stays for `down`."""
        if os.geteuid() != 0:
            raise InvalidInputError("the lab makes network namespaces and needs root: sudo evertunnel lab up")
        if self.folder.exists():
            raise InvalidInputError(f"a lab is up in {self.folder}: take it down first, evertunnel lab down")
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        say("network: internet, gateway, laptop, corporate host")
        self.network.build()
        self._start_corp()
        say("installation: authorities, database, processes")
        self.run("init", "--organisation", "Lab", "--public-name", PUBLIC_NAME, "--user-base", str(_USER_BASE),
                 "--public-url", f"http://{GATEWAY_ADDRESS}",  # nobody resolves names in here
                 "--listen-http", f"{GATEWAY_ADDRESS}:80", "--listen-https", f"{GATEWAY_ADDRESS}:443",
                 "--listen-radius", f"{SERVER_MANAGE_ADDRESS}:1812",
                 "--listen-agents", f"{SERVER_MANAGE_ADDRESS}:{AGENTS_PORT}")  # fmt: skip
        self.start_server()
        say("policies, a user, a device, a gateway")
        self._fill()
        say("strongSwan on gateway and laptop")
        fragment = self.state / "gateways" / GATEWAY / "strongswan.conf"
        wait_for("the gateway's configuration", fragment.exists)
        start_charon("gateway", self.network, self.processes, self.folder, include=fragment, owner=_GATEWAY_USER)
        start_charon("laptop", self.network, self.processes, self.folder)
        wait_for("the gateway's connections", lambda: is_loaded(self.folder / "gateway.vici"))

    def add_second_gateway(self, say: Callable[[str], None]) -> None:
        """A gateway on another host, which shares no file with the server, enrolled by code. Raises DomainError."""
        say("second gateway: strongSwan and an agent on a host of their own")
        made = self.run("gateway", "add", SECOND_GATEWAY, "--public-name", SECOND_PUBLIC_NAME,
                        "--device-pool", SECOND_DEVICE_POOL, "--user-pool", SECOND_USER_POOL,
                        "--device-network", DEVICE_NETWORK, "--user-network", USER_NETWORK,
                        "--radius-address", SECOND_GATEWAY_MANAGE_ADDRESS,
                        "--server-address", SERVER_MANAGE_ADDRESS, "--encap")  # fmt: skip
        self.agent_folder.parent.mkdir(exist_ok=True)
        done = self.run_agent("enrol", given=made.stdout.split()[-1])
        if done.returncode != 0:
            raise UnavailableError(f"the agent was not enrolled: {done.stderr.strip()}")
        self.start_agent()
        wait_for("the second gateway's configuration", self.second_fragment.exists)
        self.start_second_charon()
        wait_for("the second gateway's connections", lambda: is_loaded(self.second_vici))

    def start_second_charon(self) -> None:
        """strongSwan on the second gateway, with what its agent wrote."""
        start_charon(
            "gateway2",
            self.network,
            self.processes,
            self.agent_folder.parent,
            include=self.second_fragment,
            owner=_AGENT_USER,
        )

    def start_agent(self) -> None:
        """`evertunnel gateway agent` on the second gateway's host."""
        self.processes.start("agent", self._wrap_agent("--vici-socket", str(self.second_vici)))

    def run_agent(self, *arguments: str, given: str) -> subprocess.CompletedProcess[str]:
        """A command of the agent on the second gateway's host, with what it asks for."""
        command = self._wrap_agent(*arguments)
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)

    def _wrap_agent(self, *arguments: str) -> list[str]:
        command = sys.executable, "-m", "evertunnel", "gateway", "agent", *arguments
        return self.network.wrap("gateway2", *command, "--user", str(_AGENT_USER), "--folder", str(self.agent_folder))

    def down(self) -> None:
        """End every process of the lab and remove its namespaces and folder. Fine when there is nothing."""
        self.processes.stop_all()
        self.network.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments: str, password: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of ours against the lab's installation."""
        done = subprocess.run(
            [sys.executable, "-m", "evertunnel", "--state", str(self.state), *arguments],
            input=None if password is None else password + "\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise UnavailableError(f"evertunnel {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def start_server(self) -> None:
        """`evertunnel serve` on the gateway host; returns when it answers."""
        command = [sys.executable, "-m", "evertunnel", "--state", str(self.state), "serve"]
        self.processes.start("serve", self.network.wrap("gateway", *command))
        wait_for("the server", lambda: self.run("user", "list", check=False).returncode == 0, seconds=30)

    def issue_device_certificate(self, device: str, folder: Path) -> None:
        """A certificate and key for a device, as an administrator would hand it over."""
        self.run("certificate", "issue", "--device", device, "--out", str(folder))

    def plan_device_tunnel(self, folder: Path, *, name: str = DEVICE_TUNNEL, second: bool = False) -> TunnelPlan:
        """The laptop's device tunnel with the certificate of a folder, to the first gateway or the second."""
        load_device_identity(folder)
        return TunnelPlan(
            name=name,
            gateway_address=SECOND_GATEWAY_ADDRESS if second else GATEWAY_ADDRESS,
            gateway_name=SECOND_PUBLIC_NAME if second else PUBLIC_NAME,
            networks=[DEVICE_NETWORK],
            certificate_pem=(folder / "certificate.pem").read_text(encoding="ascii"),
            chain_pem=[],
            key_pem=(folder / "key.pem").read_text(encoding="ascii"),
            root_pem=(folder / "root.pem").read_text(encoding="ascii"),
            encap=True,
        )

    def bring_up_device_tunnel(self, *, name: str = DEVICE_TUNNEL, second: bool = False) -> str:
        """Bring the device tunnel up and return its address. Raises UnavailableError."""
        vici = ViciConnection(str(self.laptop_vici))
        try:
            bring_up(vici, self.plan_device_tunnel(self.folder / "laptop", name=name, second=second))
            return self.find_address(name) or ""
        finally:
            vici.close()

    def try_another_device_tunnel(self) -> None:
        """One more over the second gateway, beside any that is up. Raises UnavailableError when it does not come up.

        With proposals of its own: of what equals a connection in use, strongSwan would use that one again.
        """
        plan = self.plan_device_tunnel(self.folder / "laptop", name=ANOTHER_TUNNEL, second=True)
        vici = ViciConnection(str(self.laptop_vici))
        try:
            bring_up(vici, replace(plan, ike_proposals=plan.ike_proposals[:1]))
        finally:
            take_down(vici, ANOTHER_TUNNEL)
            vici.close()

    def take_down_device_tunnel(self, *, name: str = DEVICE_TUNNEL) -> None:
        """End the device tunnel from the laptop's side."""
        vici = ViciConnection(str(self.laptop_vici))
        try:
            take_down(vici, name)
        finally:
            vici.close()

    def find_address(self, tunnel: str) -> str | None:
        """The laptop's address inside a tunnel, or None when that is not up."""
        vici = ViciConnection(str(self.laptop_vici))
        try:
            for found in find_tunnels(vici, tunnel):
                return str(found.get("local-vips", [""])[0])
            return None
        finally:
            vici.close()

    def start_connect(self, *, second: bool = False, code: str = "") -> subprocess.Popen[str]:
        """`evertunnel connect` on the laptop, as alice, to the first gateway or the second."""
        command = [sys.executable, "-m", "evertunnel", "connect",
                   "--server", f"https://{PUBLIC_NAME}", "--server-address", GATEWAY_ADDRESS,
                   "--gateway", SECOND_PUBLIC_NAME if second else PUBLIC_NAME,
                   "--gateway-address", SECOND_GATEWAY_ADDRESS if second else GATEWAY_ADDRESS,
                   "--device", str(self.folder / "laptop"), "--user", USER,
                   "--network", USER_NETWORK, "--vici-socket", str(self.laptop_vici), "--encap"]  # fmt: skip
        process = subprocess.Popen(
            self.network.wrap("laptop", *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(f"{PASSWORD}\n{code}\n" if code else f"{PASSWORD}\n")
        process.stdin.close()
        process.stdin = None  # so that `communicate` reads only
        return process

    def fetch(self, host: str, source: str) -> str:
        """Size and SHA-256 of the corporate page as the laptop gets it from one of its addresses."""
        command = [sys.executable, "-m", "evertunnel.lab.fetch", host, "/page", source]
        done = subprocess.run(
            self.network.wrap("laptop", *command), capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else done.stderr.strip()

    @property
    def page(self) -> str:
        """Size and SHA-256 of the corporate page as it lies on the server."""
        body = (self.folder / "www" / "page").read_bytes()
        return f"{len(body)} {hashlib.sha256(body).hexdigest()}"

    def _start_corp(self) -> None:
        (self.folder / "www").mkdir()
        (self.folder / "www" / "page").write_bytes(secrets.token_bytes(_PAGE_BYTES))
        for name, address in (("intranet", CORP_INTRANET_ADDRESS), ("infrastructure", CORP_INFRASTRUCTURE_ADDRESS)):
            command = [sys.executable, "-m", "evertunnel.lab.web", address, str(self.folder / "www")]
            self.processes.start(f"web-{name}", self.network.wrap("corp", *command))

    def _fill(self) -> None:
        self.run("policy", "set-up")
        self.run("user", "add", USER, "--password", password=PASSWORD)
        self.run("device", "add", DEVICE)
        self.run("device", "assign", DEVICE, USER)
        self.run("group", "join", "VPN Users", "--user", USER)
        self.run("group", "join", "VPN Devices", "--device", DEVICE)
        self.issue_device_certificate(DEVICE, self.folder / "laptop")
        self.run("gateway", "add", GATEWAY, "--public-name", PUBLIC_NAME,
                 "--device-pool", "10.30.0.0/20", "--user-pool", "10.31.0.0/20",
                 "--device-network", DEVICE_NETWORK, "--user-network", USER_NETWORK,
                 "--radius-address", SERVER_MANAGE_ADDRESS,  # it is on the server's host
                 "--vici-socket", str(self.folder / "gateway.vici"), "--encap")  # fmt: skip


def is_loaded(vici_socket: Path) -> bool:
    """Whether a gateway's strongSwan has our connections."""
    vici = ViciConnection(str(vici_socket))
    try:
        return len(vici.list_connections()) >= 2
    except UnavailableError:
        return False
    finally:
        vici.close()


def wait_for(what: str, holds: Callable[[], bool], *, seconds: float = 15.0) -> float:
    """Wait until something holds; returns the seconds it took. Raises UnavailableError when it never does."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise UnavailableError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - began
