"""One lab for all tests of this folder, and words for what they do in it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vici as vici_package
from typer.testing import CliRunner

from evertunnel import clock
from evertunnel.actions.deny import deny
from evertunnel.cli.app import app
from evertunnel.connector.tunnel import TunnelPlan, bring_up, take_down
from evertunnel.errors import UnavailableError
from evertunnel.gateways.strongswan import DEVICE_CONNECTION
from evertunnel.keystore import Keystore
from evertunnel.lab.lab import DEVICE, GATEWAY, USER_TUNNEL, Lab, wait_for
from evertunnel.lab.network import LAPTOP_ADDRESS
from evertunnel.model import SubjectKind
from evertunnel.storage.gateways import gate_path_context, get_gateway
from evertunnel.storage.store import Store
from evertunnel.vici_connection import ViciConnection
from tests.mmdb import build_mmdb, country

# What the lab's country database says.
COUNTRIES = {LAPTOP_ADDRESS: "DE", "198.51.100.21": "DE", "198.51.100.22": "FR"}


class CountryLab(Lab):
    """A lab whose server knows where addresses are."""

    def start_server(self) -> None:
        """Name the file in the configuration before the server reads that first."""
        file, config = self.folder / "countries.mmdb", self.state / "evertunnel.toml"
        if not file.exists():
            file.write_bytes(build_mmdb({f"{address}/32": country(code) for address, code in COUNTRIES.items()}))
            config.write_text(f'country_database = "{file}"\n{config.read_text(encoding="utf-8")}', encoding="utf-8")
        super().start_server()


class Bench:
    """The lab with what tests ask of it again and again."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of ours, in this process: an interpreter for each would be most of what these tests wait for."""
        done = CliRunner().invoke(app, ["--state", str(self.lab.state), *arguments], catch_exceptions=False)
        if check and done.exit_code != 0:
            raise UnavailableError(f"evertunnel {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run(*arguments, "--json").stdout)
        return found

    def attempts(self) -> list[dict[str, Any]]:
        return self.rows("attempt", "list", "--limit", "500")

    def sessions(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.rows("session", "list") if row["kind"] == kind and row["state"] == "up"]

    def reason_of(self, act: Callable[[], object]) -> str:
        """The reason of the one attempt that is recorded while something is done."""
        known = {row["id"] for row in self.attempts()}
        act()
        fresh: list[dict[str, Any]] = []

        def recorded() -> bool:
            fresh[:] = [row for row in self.attempts() if row["id"] not in known]
            return bool(fresh)

        wait_for("the record of the attempt", recorded)
        assert len(fresh) == 1, fresh
        return str(fresh[0]["reason"])

    def device_plan(self, **changes: Any) -> TunnelPlan:
        return replace(self.lab.plan_device_tunnel(self.lab.folder / "laptop"), **changes)

    def laptop(self) -> ViciConnection:
        return ViciConnection(str(self.lab.laptop_vici))

    def gateway(self) -> ViciConnection:
        return ViciConnection(str(self.lab.folder / "gateway.vici"))

    def gateway_tunnels(self, connection: str) -> list[dict[str, Any]]:
        """What the gateway itself lists, half-open tunnels included."""
        vici = self.gateway()
        try:
            return [tunnel for tunnel in vici.list_tunnels() if tunnel["name"] == connection]
        finally:
            vici.close()

    def refused(self, plan: TunnelPlan) -> None:
        """Try a tunnel that must not come up, and leave nothing behind.

        An answer of the gate counts for three seconds: within them a tunnel may come up, and is cut at once.
        """
        vici = self.laptop()
        try:
            bring_up(vici, plan)
        except UnavailableError:
            pass
        else:
            took = wait_for("the cut", lambda: not self.gateway_tunnels(DEVICE_CONNECTION), seconds=2)
            assert took < 1
        finally:
            take_down(vici, plan.name)
            vici.close()
            self.forget_credentials()

    def up(self, plan: TunnelPlan) -> None:
        vici = self.laptop()
        try:
            bring_up(vici, plan)
        finally:
            vici.close()

    def down(self, plan: TunnelPlan, kind: str) -> None:
        vici = self.laptop()
        take_down(vici, plan.name)
        vici.close()
        self.forget_credentials()
        wait_for("the end of the session", lambda: not self.sessions(kind))

    def forget_credentials(self) -> None:
        """The laptop's strongSwan forgets every key and certificate, so that no test profits from another's."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.lab.laptop_vici))
            vici_package.Session(connection).clear_creds()

    def connect(self, *, second: bool = False, code: str = "") -> subprocess.Popen[str]:
        """Alice's user tunnel, up."""
        process = self.lab.start_connect(second=second, code=code)
        wait_for(
            "the user tunnel", lambda: self.lab.find_address(USER_TUNNEL) is not None or process.poll() is not None
        )
        assert process.poll() is None, process.communicate()[1]
        wait_for("the session", lambda: bool(self.sessions("user")))
        return process

    def disconnect(self, process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.communicate(timeout=20)
        wait_for("the end of the session", lambda: not self.sessions("user"))

    def find_process(self, offset: int) -> int:
        """One of the server's processes, by its user: the lab numbers them from 61700."""
        serve = self.lab.processes.find("serve")
        listed = subprocess.run(["ps", "-eo", "pid,ppid,uid"], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines()[1:]:
            pid, parent, uid = map(int, line.split())
            if parent == serve and uid == 61_700 + offset:
                return pid
        raise AssertionError("no such process")

    @contextmanager
    def gateway_process_halted(self) -> Iterator[None]:
        """What strongSwan is told meanwhile stays so, and what it reports is handled afterwards."""
        with halted(self.find_process(5)):
            yield

    @contextmanager
    def charon_halted(self, host: str) -> Iterator[None]:
        """A strongSwan that answers nobody."""
        pid = self.lab.processes.find(f"charon-{host}")
        assert pid is not None
        with halted(pid):
            yield

    def leave_nothing(self) -> None:
        """End what a test left at a gateway, so that the next one is not judged by it."""
        for name in ("laptop", "gateway"):
            with closing(ViciConnection(str(self.lab.folder / f"{name}.vici"))) as vici:
                for tunnel in list(vici.list_tunnels()):
                    vici.terminate(int(tunnel["uniqueid"]))

    def allow_everybody(self) -> None:
        for row in self.rows("deny", "list"):
            self.run("allow", row["kind"], row["name"])

    def deny_in_database(self, device: str) -> None:
        """A denial by somebody else who writes the same database."""
        store = Store(f"sqlite:///{self.lab.state}/data/evertunnel.db")
        deny(store, SubjectKind.DEVICE, device, reason="test", actor="another node", now=clock.now())
        store.close()

    def gate_url(self) -> str:
        """The secret address of the real gate."""
        store = Store(f"sqlite:///{self.lab.state}/data/evertunnel.db")
        with store.read() as connection:
            row = get_gateway(connection, GATEWAY)
        store.close()
        path = Keystore(self.lab.state).unseal(row.gate_path_sealed, context=gate_path_context(row.id)).decode()
        return f"http://127.0.0.1:8118/{path}"

    def authority_pem(self, name: str) -> str:
        return next(str(row["pem"]) for row in self.rows("certificate", "authorities") if row["name"] == name)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    # Not pytest's own folder: processes that gave up root must reach the state folder, and that one is root's alone.
    with tempfile.TemporaryDirectory(prefix="evertunnel-test-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = CountryLab(folder / "lab", prefix="evt-test")
        made.down()
        try:
            made.up(lambda text: sys.stderr.write(f"lab: {text}\n"))
            yield made
        finally:
            made.down()


@pytest.fixture
def bench(lab: Lab) -> Iterator[Bench]:
    bench = Bench(lab)
    bench.run("device", "report", DEVICE, "--compliant")
    yield bench
    bench.allow_everybody()
    bench.leave_nothing()


@contextmanager
def halted(*pids: int) -> Iterator[None]:
    """Processes that do nothing meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
