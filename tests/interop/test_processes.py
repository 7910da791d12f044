"""The processes of `evertunnel serve`: who they are, what they hold, what happens when one is killed."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from evertunnel.signer_socket import SignerClient
from tests.interop.server import OFFSETS, PROCESSES, USER_BASE, Server, find_children, is_alive, wait_for

# Keys by the process that owns them; everybody else must fail to read them.
KEYS = {
    "signer/root.pem": "signer", "signer/issuing.pem": "signer", "signer/access.pem": "signer",
    "signer/device.pem": "signer", "radius/policy-server.pem": "radius", "web-public/https.pem": "web-public",
    "secrets.key": "", "radius/secrets.key": "radius", "web-admin/secrets.key": "web-admin",
    "gateway/secrets.key": "gateway", "gate/secrets.key": "gate", "web-public/sign-in.key": "web-public",
}  # fmt: skip


def as_user(process: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python as the user of one of our processes."""
    user_id, group_id = USER_BASE + OFFSETS[process], USER_BASE
    return subprocess.run(
        ["/usr/bin/python3", "-c", code], user=user_id, group=group_id, extra_groups=[], capture_output=True, text=True,
        timeout=20, check=False, cwd="/",
    )  # fmt: skip


def read_status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_a_user_of_its_own_for_good(server: Server, process: str) -> None:
    status = read_status(server.list_children()[process])
    user_id = str(USER_BASE + OFFSETS[process])
    assert status["Uid"] == [user_id] * 4
    assert status["Gid"] == [str(USER_BASE)] * 4
    assert status["Groups"] == []
    assert int(status["CapEff"][0], 16) == int(status["CapPrm"][0], 16) == 0


def test_no_two_processes_share_a_user(server: Server) -> None:
    assert set(server.list_children()) == set(PROCESSES)
    assert server.process is not None
    assert len(find_children(server.process.pid)) == len(PROCESSES)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_read_by_its_own_process_only(server: Server, key: str) -> None:
    path = server.state / "keys" / key
    for process in PROCESSES:
        done = as_user(process, f"print(len(open({str(path)!r}, 'rb').read()))")
        assert (done.returncode == 0) == (process == KEYS[key]), (process, done.stderr)
        assert process == KEYS[key] or "PermissionError" in done.stderr


def test_the_sealing_key_lies_nowhere_else(server: Server) -> None:
    key = (server.state / "keys" / "secrets.key").read_bytes()
    files = [path for path in server.state.rglob("*") if path.is_file() and path.parent.name != "data"]
    holders = {str(path.relative_to(server.state / "keys")) for path in files if key in path.read_bytes()}
    assert holders == {name for name in KEYS if name.endswith("secrets.key")}


@pytest.mark.parametrize("process", PROCESSES)
def test_no_process_may_look_into_another_ones_memory(server: Server, process: str) -> None:
    for name, pid in server.list_children().items():
        if name != process:
            done = as_user(process, f"open('/proc/{pid}/mem', 'rb')")
            assert "PermissionError" in done.stderr, name


PRIVATE = ["keys/secrets.key", "keys/signer", "data/evertunnel.db", "data", "gateways", "run/serve.lock"]


def as_stranger(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python as nobody."""
    return subprocess.run(["/usr/bin/python3", "-c", code], user=65534, group=65534, extra_groups=[],
                          capture_output=True, text=True, timeout=20, check=False, cwd="/")  # fmt: skip


@pytest.mark.parametrize("path", PRIVATE)
def test_a_stranger_reads_neither_keys_nor_database_nor_secrets(server: Server, path: str) -> None:
    done = as_stranger(f"import os; os.open({str(server.state / path)!r}, os.O_RDONLY)")
    assert "PermissionError" in done.stderr


def find_socket_inodes(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
        except FileNotFoundError:
            continue
        if match:
            found.add(match[1])
    return found


def list_listeners(pid: int) -> set[str]:
    """Names of the sockets a process listens or receives on: a port, or the file name of a Unix socket."""
    inodes, found = find_socket_inodes(pid), set()
    for table, states in (("tcp", {"0A"}), ("udp", {"07"})):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] in states:
                found.add(f"{table} {int(fields[1].partition(':')[2], 16)}")
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        listening = int(fields[3], 16) & 0x10000  # __SO_ACCEPTCON
        if fields[6] in inodes and listening:
            found.add(Path(fields[7]).name if len(fields) > 7 else "unnamed")
    return found


def test_each_process_holds_its_own_listeners_and_no_others(server: Server) -> None:
    wanted = {
        "signer": {"signer.sock"},
        "radius": {f"udp {server.radius}", f"udp {server.radius + 1}"},
        "web-public": {f"tcp {server.http}", f"tcp {server.https}"},
        "web-admin": {"admin.sock"},
        "gateway": set(),
        "gate": {f"tcp {server.gate}"},
    }
    children = server.list_children()
    assert {name: list_listeners(pid) for name, pid in children.items()} == wanted


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_opens_no_file_but_those_it_needs(server: Server, process: str) -> None:
    pid = server.list_children()[process]
    links = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    keys = {link for link in links if "/keys/" in link}
    assert keys == set()


def ask_signer(server: Server, process: str, certificate_id: str) -> str:
    code = (
        "import socket, json; s = socket.socket(socket.AF_UNIX);"
        f"s.connect({str(server.state / 'run' / 'signer.sock')!r});"
        f"s.sendall(json.dumps({{'sign': {certificate_id!r}}}).encode() + b'\\n'); print(s.makefile().readline())"
    )
    return as_user(process, code).stdout


def test_the_signer_refuses_kinds_a_process_may_not_ask_for(server: Server) -> None:
    """Every kind there is a row of; the rows were signed long ago, and even so are not handed to the wrong process."""
    rows = server.api("GET", "/certificates").json()
    allowed = {
        "web-admin": {"user", "device"}, "web-public": {"short-lived", "ocsp-signer"}, "gateway": {"gateway"},
        "gate": set(), "radius": set(), "signer": set(),
    }  # fmt: skip
    policy_server = next(row["id"] for row in rows if row["kind"] == "policy-server")
    for process in allowed:
        answer = ask_signer(server, process, policy_server)
        assert "may not ask for policy-server certificates" in answer, process
    assert SignerClient(server.state / "run" / "signer.sock").sign(policy_server)  # root may


def test_a_stranger_does_not_even_reach_the_signer(server: Server) -> None:
    path = str(server.state / "run" / "signer.sock")
    assert "PermissionError" in as_stranger(f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})").stderr


REQUEST = b"GET /v1/users HTTP/1.1\\r\\nHost: admin\\r\\nConnection: close\\r\\n\\r\\n"


@pytest.mark.parametrize("user_id", [65534, *(USER_BASE + OFFSETS[name] for name in PROCESSES)])
def test_nobody_but_an_administrator_may_use_the_admin_socket(server: Server, user_id: int) -> None:
    code = (
        "import socket; s = socket.socket(socket.AF_UNIX);"
        f"s.connect({str(server.state / 'run' / 'admin.sock')!r}); s.sendall(b'{REQUEST.decode()}');"
        "print(s.makefile().read())"
    )
    done = subprocess.run(["/usr/bin/python3", "-c", code], user=user_id, group=USER_BASE, extra_groups=[],
                          capture_output=True, text=True, check=False, cwd="/", timeout=20)  # fmt: skip
    assert done.stdout.startswith("HTTP/1.1 403"), done.stderr
    assert "Only administrators" in done.stdout


def serves(server: Server, process: str) -> bool:
    """Whether what a process is for works."""
    if process == "radius":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("127.0.0.1", server.radius))
            probe.send(b"\x01\x00")  # too short for an answer; refused at once when nobody listens
            probe.settimeout(0.05)
            try:
                probe.recv(10)
            except TimeoutError:
                return process in server.list_children()
            except ConnectionRefusedError:
                return False
        return True
    if process == "signer":
        row = server.api("GET", "/certificates").json()[0]["id"]
        return bool(SignerClient(server.state / "run" / "signer.sock").sign(row))
    if process == "gateway":
        return process in server.list_children()
    return server.answers()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_that_is_killed_is_back_and_serving_within_seconds(server: Server, process: str) -> None:
    before = server.list_children()
    os.kill(before[process], signal.SIGKILL)
    wait_for(lambda: not is_alive(before[process]))
    began = time.monotonic()
    wait_for(lambda: server.list_children().get(process) not in (None, before[process]), seconds=10)
    wait_for(lambda: serves(server, process), seconds=10)
    assert time.monotonic() - began < 10
    after = server.list_children()
    assert {name: pid for name, pid in after.items() if name != process} == {
        name: pid for name, pid in before.items() if name != process
    }


def test_a_process_that_comes_back_gave_up_root_again(server: Server) -> None:
    before = server.list_children()["gate"]
    os.kill(before, signal.SIGKILL)
    pid = wait_for(lambda: (found := server.list_children().get("gate")) != before and found)
    assert read_status(pid)["Uid"] == [str(USER_BASE + OFFSETS["gate"])] * 4
    assert wait_for(lambda: list_listeners(pid)) == {f"tcp {server.gate}"}


def test_three_radius_workers_share_a_user_and_no_socket_to_read_from_and_stop_when_told(fresh: Server) -> None:
    fresh.init()
    fresh.set_radius_workers(3)
    fresh.start()
    assert fresh.process is not None
    user_id = USER_BASE + OFFSETS["radius"]
    children = find_children(fresh.process.pid)
    workers = [pid for pid in children if Path(f"/proc/{pid}").stat().st_uid == user_id]
    assert len(workers) == 3
    assert len(children) == len(PROCESSES) + 2
    assert set(fresh.list_children()) == set(PROCESSES)
    listeners = {f"udp {fresh.radius}", f"udp {fresh.radius + 1}"}
    for pid in workers:
        assert list_listeners(pid) == listeners
        status = read_status(pid)
        assert status["Uid"] == [str(user_id)] * 4
        assert int(status["CapEff"][0], 16) == int(status["CapPrm"][0], 16) == 0
        held = [find_socket_inodes(other) for other in workers if other != pid]
        # Shared are the ends of pairs that all write to, three a port, and nothing else.
        assert [len(find_socket_inodes(pid) & other) for other in held] == [6, 6]
    assert fresh.stop() == 0
    assert not any(map(is_alive, workers))
    assert "Traceback" not in fresh.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_within_seconds_and_leaves_no_process(fresh: Server, number: signal.Signals) -> None:
    fresh.init()
    fresh.start()
    assert fresh.process is not None
    children = fresh.list_children()
    began = time.monotonic()
    fresh.process.send_signal(number)
    assert fresh.process.wait(timeout=20) == 0
    assert time.monotonic() - began < 10
    assert [pid for pid in children.values() if is_alive(pid)] == []
    assert "Traceback" not in fresh.log.read_text()


def test_a_supervisor_that_is_killed_leaves_no_orphan_although_a_caller_holds_a_process_up(fresh: Server) -> None:
    fresh.init()
    fresh.start()
    assert fresh.process is not None
    children = fresh.list_children()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(fresh.state / "run" / "admin.sock"))
        caller.sendall(b"POST /v1/users HTTP/1.1\r\nHost: admin\r\nContent-Length: 1000\r\n\r\n{")
        fresh.process.kill()
        fresh.process.wait()
        wait_for(lambda: not any(map(is_alive, children.values())), seconds=14)
    fresh.process = None
    fresh.start()  # nothing of the old one is in the way
    assert set(fresh.list_children()) == set(PROCESSES)
