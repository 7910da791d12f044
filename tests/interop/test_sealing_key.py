"""The sealing key as a file, a credential and under a passphrase: who holds it, and what is said without it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from evertunnel.keystore import derive_sign_in_key
from tests.interop.server import Server, wait_for

PASSPHRASE = "correct horse battery"
SEALING = {"radius", "web-admin", "gateway", "gate"}
GATEWAY = (
    "--public-name", "vpn.example.com", "--device-pool", "10.30.0.0/20", "--user-pool", "10.31.0.0/20",
    "--device-network", "10.20.0.10/32", "--user-network", "10.20.0.0/16", "--radius-address", "127.0.0.1",
)  # fmt: skip


def find_line(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stdout + done.stderr
    return done.stderr


def find_files_with(server: Server, key: bytes) -> set[str]:
    return {str(path.relative_to(server.state)) for path in server.state.rglob("*")
            if path.is_file() and key in path.read_bytes()}  # fmt: skip


def start(server: Server, *, stdin: str = "", environment: dict[str, str] | None = None) -> None:
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            server.command("serve"), stdin=subprocess.PIPE, stdout=log, stderr=log,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    assert server.process.stdin is not None
    server.process.stdin.write(stdin.encode())
    server.process.stdin.close()
    wait_for(server.answers, seconds=30)


def find_holders(server: Server, key: str = "sealing-key") -> set[str]:
    """Processes that have a key's nameless file open."""
    return {
        name
        for name, pid in server.list_children().items()
        if any(f"memfd:{key}" in os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    }


def test_from_file_to_passphrase_to_credential_and_back(fresh: Server) -> None:
    fresh.init()
    fresh.start()
    key = (fresh.state / "keys" / "secrets.key").read_bytes()
    fresh.run("gateway", "add", "gw1", *GATEWAY, "--vici-socket", str(fresh.folder / "none"))
    assert "another `evertunnel serve` runs" in find_line(fresh.run("keys", "seal-with", "passphrase", check=False))
    fresh.stop()

    assert "12 characters" in find_line(fresh.run("keys", "seal-with", "passphrase", stdin="short\n", check=False))
    assert len(find_files_with(fresh, key)) == 5
    fresh.run("keys", "seal-with", "passphrase", stdin=f"{PASSPHRASE}\n")
    assert find_files_with(fresh, key) == set() and find_files_with(fresh, derive_sign_in_key(key)) == set()
    assert "another passphrase" in find_line(fresh.run("serve", stdin="another horse battery\n", check=False))
    assert "no passphrase came" in find_line(fresh.run("serve", check=False))
    start(fresh, stdin=f"{PASSPHRASE}\n")
    assert find_holders(fresh) == SEALING and find_holders(fresh, "sign-in-key") == {"web-public"}
    pid = fresh.list_children()["gate"]  # one that is killed gets it again without anybody being asked
    os.kill(pid, 9)
    wait_for(lambda: fresh.list_children().get("gate") not in (None, pid))
    wait_for(lambda: find_holders(fresh) == SEALING)
    fresh.run("gateway", "add", "gw2", *GATEWAY[:-1], "127.0.0.2", "--vici-socket", str(fresh.folder / "none2"))
    assert fresh.stop() == 0

    out = fresh.folder / "credentials" / "evertunnel-sealing-key"
    out.parent.mkdir()
    move = ("keys", "seal-with", "credential")
    for arguments, words in ((move, "with --out"), ((*move, "--out", str(fresh.state / "x")), "lies in the state")):
        assert words in find_line(fresh.run(*arguments, stdin=f"{PASSPHRASE}\n", check=False))
    fresh.run(*move, "--out", str(out), stdin=f"{PASSPHRASE}\n")
    assert out.read_bytes() == key and stat.S_IMODE(out.stat().st_mode) == 0o600
    assert not (fresh.state / "keys" / "secrets.key.sealed").exists()
    assert "is a credential of systemd" in find_line(fresh.run("serve", check=False))
    start(fresh, environment={"CREDENTIALS_DIRECTORY": str(out.parent)})
    assert find_holders(fresh) == SEALING
    assert fresh.stop() == 0

    fresh.run("keys", "seal-with", "file", "--in", str(out))
    fresh.start()
    assert len(find_files_with(fresh, key)) == 5 and find_holders(fresh) == set()
    assert {row["name"] for row in fresh.json("gateway", "list")} == {"gw1", "gw2"}
    assert "does not open" not in fresh.log.read_text() and "Traceback" not in fresh.log.read_text()


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_credential_of_another_length_is_no_key(fresh: Server, content: bytes) -> None:
    fresh.init()
    config = fresh.state / "evertunnel.toml"
    config.write_text(config.read_text() + '[keys]\nsealing = "credential"\n')
    (fresh.folder / "evertunnel-sealing-key").write_bytes(content)
    done = fresh.run("serve", environment={"CREDENTIALS_DIRECTORY": str(fresh.folder)}, check=False)
    assert "is no sealing key" in find_line(done)


def test_a_sealing_nobody_knows_is_told(fresh: Server) -> None:
    fresh.init()
    config = fresh.state / "evertunnel.toml"
    config.write_text(config.read_text() + '[keys]\nsealing = "cloud"\n')
    assert "keys.sealing: Input should be 'file', 'credential' or 'passphrase'" in find_line(
        fresh.run("serve", check=False)
    )
