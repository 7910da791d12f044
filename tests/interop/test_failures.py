"""What can go wrong around the program: each time one clear line, never a traceback, nothing half-made."""

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.interop.server import PROCESSES, Server, wait_for


def find_line(done: subprocess.CompletedProcess[str], *, code: int = 1) -> str:
    """The one line a failed command prints."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and done.stdout == "", done
    assert lines[0].startswith("evertunnel: ")
    return lines[0].removeprefix("evertunnel: ")


@pytest.fixture(scope="module")
def made() -> Iterator[Server]:
    """An installation that is not served; tests that damage it work on a copy."""
    server = Server()
    server.init()
    yield server
    server.remove()


@pytest.fixture
def copy(made: Server, fresh: Server) -> Server:
    """A copy of an installation, with its ports."""
    fresh.http, fresh.https, fresh.gate, fresh.radius = made.http, made.https, made.gate, made.radius
    shutil.copytree(made.state, fresh.state, symlinks=True)
    for path in (made.state, *made.state.rglob("*")):
        there = fresh.state / path.relative_to(made.state)
        os.chown(there, path.stat().st_uid, path.stat().st_gid)
        there.chmod(path.stat().st_mode)
    return fresh


def serve(server: Server) -> subprocess.CompletedProcess[str]:
    return server.run("serve", check=False)


def test_two_servers_on_one_folder(copy: Server) -> None:
    copy.start()
    assert find_line(serve(copy)) == f"another `evertunnel serve` runs on {copy.state}"
    assert copy.answers()


@pytest.mark.parametrize("which", ["radius", "http", "https", "gate"])
def test_a_port_somebody_else_has(copy: Server, which: str) -> None:
    kind = socket.SOCK_DGRAM if which == "radius" else socket.SOCK_STREAM
    config = (copy.state / "evertunnel.toml").read_text()
    name = which if which in ("radius", "gate") else f"public_{which}"
    endpoint = next(line.partition('"')[2].rstrip('"') for line in config.splitlines() if line.startswith(f"{name} ="))
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", int(endpoint.rpartition(":")[2])))
        if kind == socket.SOCK_STREAM:
            other.listen()
        assert find_line(serve(copy)) == f"listen.{name}: cannot listen on {endpoint}: Address already in use"


def test_no_installation(fresh: Server) -> None:
    assert "evertunnel.toml does not exist: run `evertunnel --state" in find_line(serve(fresh))


def change_config(server: Server, text: str) -> None:
    with (server.state / "evertunnel.toml").open("a") as file:
        file.write(text)


DAMAGES: dict[str, tuple[Callable[[Server], object], str]] = {
    "a typing error in the configuration": (
        lambda server: change_config(server, '[listn]\nradius = "127.0.0.1:1"\n'), "listn: is not a setting",
    ),
    "a configuration that is no TOML": (lambda server: change_config(server, "radius 1812\n"), "(at line"),
    "a configuration that is no text": (
        lambda server: (server.state / "evertunnel.toml").write_bytes(b"\xff\xfe"), "cannot be read",
    ),
    "an administrator nobody knows": (
        lambda server: change_config(server, '[administrators]\nusers = ["ghost"]\n'),
        "there is no system user 'ghost'",
    ),
    "a process user nobody knows": (
        lambda server: (server.state / "evertunnel.toml").write_text(
            (server.state / "evertunnel.toml").read_text().replace('gate = "61906"', 'gate = "ghost"')
        ),
        "there is no system user 'ghost'",
    ),
    "no database": (lambda server: (server.state / "data" / "evertunnel.db").unlink(), "evertunnel.db does not exist"),
    "a database that is none": (
        lambda server: (server.state / "data" / "evertunnel.db").write_bytes(b"not a database at all" * 100),
        "file is not a database",
    ),
    "an empty database": (
        lambda server: (server.state / "data" / "evertunnel.db").write_bytes(b""), "run `evertunnel upgrade`",
    ),
    "another kind of database": (
        lambda server: (server.state / "evertunnel.toml").write_text(
            'database_url = "postgresql://127.0.0.1:1/x"\n' + (server.state / "evertunnel.toml").read_text()
        ),
        "cannot be read: connection failed: connection to server at",
    ),
    "a folder the processes may not enter": (lambda server: server.folder.chmod(0o700), "may not enter"),
    "no folder for sockets": (lambda server: shutil.rmtree(server.state / "run"), "serve.lock cannot be opened"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_installation_is_not_served(copy: Server, what: str) -> None:
    damage, words = DAMAGES[what]
    damage(copy)
    assert words in find_line(serve(copy))


def test_a_key_that_is_gone_is_named_in_the_log_without_traceback(copy: Server) -> None:
    (copy.state / "keys" / "signer" / "issuing.pem").unlink()
    with copy.log.open("wb") as log:
        copy.process = subprocess.Popen(copy.command("serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_for(lambda: "issuing.pem cannot be read: No such file" in copy.log.read_text())
    assert copy.stop() == 0
    assert "Traceback" not in copy.log.read_text()


def run_as_nobody(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program as somebody without an account or rights; it must be readable for them, as when installed."""
    return subprocess.run(server.command(*arguments), user=65534, group=65534, extra_groups=[], capture_output=True,
                          text=True, check=False, timeout=60, cwd="/", env={"PATH": "/usr/bin:/bin"})  # fmt: skip


def test_somebody_without_rights_cannot_serve_another_ones_folder(copy: Server) -> None:
    assert "serve.lock cannot be opened: Permission denied" in find_line(run_as_nobody(copy, "serve"))


def test_somebody_without_rights_cannot_make_one(fresh: Server) -> None:
    done = run_as_nobody(fresh, "init", "--organisation", "x", "--public-name", "vpn.example")
    assert "cannot make the state folder" in find_line(done)
    assert not fresh.state.exists()


def test_somebody_who_is_no_administrator_is_told(copy: Server) -> None:
    copy.start()
    assert find_line(run_as_nobody(copy, "user", "list")) == "Only administrators may use this socket."


def test_a_server_that_is_away_is_told_with_a_code_of_its_own(copy: Server) -> None:
    line = find_line(copy.run("user", "list", check=False), code=3)
    assert "cannot be reached" in line and "is `evertunnel serve` running" in line


@pytest.mark.parametrize(("option", "value"), [("--organisation", "a\x1b[31m"), ("--listen-http", "localhost:80")])
def test_a_wrong_option_of_init_is_named_and_leaves_nothing(fresh: Server, option: str, value: str) -> None:
    assert find_line(fresh.init(option, value, check=False)).startswith(f"{option}: ")
    assert not fresh.state.exists()


def test_a_folder_that_is_not_empty_is_left_alone(fresh: Server) -> None:
    fresh.state.mkdir()
    (fresh.state / "precious").write_text("data")
    assert find_line(fresh.init(check=False)) == f"{fresh.state} is not empty: give --state a new or empty folder"
    assert (fresh.state / "precious").read_text() == "data"


def test_a_file_in_the_folders_place_is_told(fresh: Server) -> None:
    fresh.state.write_text("data")
    assert "cannot be used: Not a directory" in find_line(fresh.init(check=False))
    assert fresh.state.read_text() == "data"


@pytest.fixture
def small_disk(fresh: Server, request: pytest.FixtureRequest) -> Iterator[Server]:
    """The state folder is a disk of its own of so many KiB."""
    fresh.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={request.param}k,mode=755", "tmpfs", fresh.state], check=True)
    yield fresh
    if fresh.process is not None:
        fresh.stop()
    subprocess.run(["umount", fresh.state], check=True)


@pytest.mark.parametrize("small_disk", [8, 64, 256, 384], indirect=True)
def test_on_a_disk_too_small_nothing_is_left_of_an_installation(small_disk: Server) -> None:
    line = find_line(small_disk.init(check=False))
    assert "cannot" in line or "full" in line
    assert list(small_disk.state.iterdir()) == []


@pytest.mark.parametrize("small_disk", [4096], indirect=True)
def test_a_disk_that_fills_up_is_told_and_nothing_is_half_written(small_disk: Server) -> None:
    small_disk.init()
    small_disk.start()
    small_disk.run("user", "add", "before@corp.example")
    filler = small_disk.state / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb") as file:
        file.write(bytes(8 * 1024 * 1024))
    refused = 0
    for number in range(300):  # what the log still has room for may go through
        answer = small_disk.api("POST", "/users", {"name": f"u{number}@corp.example"}, check=False)
        refused += answer.status_code == 503
        assert answer.status_code in (201, 503), answer.text
        if refused >= 3:
            break
    assert refused >= 3
    assert "the database cannot be written: " in find_line(small_disk.run("user", "add", "x@y.z", check=False))
    filler.unlink()
    small_disk.run("user", "add", "after@corp.example")
    assert small_disk.run("audit", "verify").stdout.endswith("\n")
    assert "Traceback" not in small_disk.log.read_text()
    with sqlite3.connect(small_disk.state / "data" / "evertunnel.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def change_database(server: Server, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(server.state / "data" / "evertunnel.db")) as connection, connection:
        connection.execute(statement, values)


def list_server_certificates(server: Server) -> list[Any]:
    return [row for row in server.json("certificate", "list") if row["kind"] == "policy-server"]


def test_servers_whose_certificates_end_soon_get_new_ones_when_they_start(copy: Server) -> None:
    in_a_week = int((time.time() + 7 * 86400) * 1_000_000)  # noqa: TID251
    change_database(copy, "UPDATE certificates SET not_after = ? WHERE kind = 'policy-server'", in_a_week)
    copy.start()
    rows = wait_for(lambda: len(found := list_server_certificates(copy)) == 4 and found)
    assert {row["status"] for row in rows} == {"valid"}
    assert set(copy.list_children()) == set(PROCESSES)


def test_an_ended_server_certificate_that_cannot_be_renewed_is_refused_with_a_line(copy: Server) -> None:
    change_database(
        copy, "UPDATE certificates SET not_after = 1000000, subject_name = 'x.example' WHERE kind = 'policy-server'"
    )
    with copy.log.open("wb") as log:
        copy.process = subprocess.Popen(copy.command("serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    for process in ("radius", "web-public"):
        words = f'"process":"{process}","error":"the certificate of x.example ended at 1970-01-01 00:00:01 UTC'
        wait_for(lambda words=words: words in copy.log.read_text())
    assert copy.stop() == 0
    assert "Traceback" not in copy.log.read_text()
